"""Every row of "when the cursors disagree", on the pure decision."""

import msgspec
import pytest

from processor.core.cursor import MARK, Committed, Cursor, Fingerprint, Resume, Stream, advanced, digest, mark
from processor.protocol.claims import Halt, HaltReason, Log, PartitionState, before_growth, decide
from schemas.partitioning import uneven
from schemas.records import RawRecord

STREAM = Stream("raw", 4, "group")
LAST = RawRecord(0, 99, b"key", b"value", (("courier", b"dash"),), 1_700_000_000_000)
CURSOR = Cursor(
    raw_topic="raw",
    partitions=4,
    consumer_group="group",
    next_offset=100,
    emitted=80,
    epoch=7,
    recovery=5,
    last=Fingerprint(99, digest(LAST)),
)
SIGHT = PartitionState(CURSOR, Committed(90, mark(5)), Log(0, 120), STREAM, digest(LAST))


def seen(**changed: object) -> PartitionState:
    return msgspec.structs.replace(SIGHT, **changed)


def cursor(**changed: object) -> Cursor:
    return msgspec.structs.replace(CURSOR, **changed)


GROWN = Stream("raw", 6, "group")


def test_a_topic_that_has_grown_stops_a_claim_until_that_is_adopted() -> None:
    decision = decide(seen(stream=GROWN))
    assert isinstance(decision, Halt)
    assert decision.reason is HaltReason.STREAM
    before = before_growth(seen(stream=GROWN))
    assert before == SIGHT, "what came before may be worked off"


@pytest.mark.parametrize(
    "sight",
    [
        SIGHT,
        seen(stream=Stream("raw", 3, "group")),
        seen(stream=Stream("raw", 6, "other")),
        seen(stream=Stream("other", 6, "group")),
        seen(stream=GROWN, cursor=cursor(epoch=0)),  # a new partition: how its cursor would begin
    ],
)
def test_nothing_else_goes_on_as_before(sight: PartitionState) -> None:
    assert before_growth(sight) is None


def test_a_partition_that_cannot_be_published_names_the_mend() -> None:
    narrow = uneven("raw", 6, {"events": 4, "state": 6, "dlq": 0})
    assert narrow is not None
    for stream in (STREAM, GROWN):
        decision = decide(seen(stream=stream, narrow=narrow))
        assert isinstance(decision, Halt)
        assert decision.reason is HaltReason.NARROW
        for told in (
            "raw has 6 partitions",
            "events 4",
            "dlq is missing",
            "WAYBILL_TOPIC_PARTITIONS=6",
            "waybill recover",
        ):
            assert told in decision.why
        assert "state" not in decision.why
        assert "\n" not in decision.why
    assert uneven("raw", 4, {"events": 4, "state": 6}) is None


@pytest.mark.parametrize(
    ("sight", "decision"),
    [
        (SIGHT, Resume(90)),
        (seen(committed=Committed(100, mark(5))), Resume(100)),
        (seen(committed=None), Resume(80)),
        (seen(committed=Committed(30, "")), Resume(30)),
        (seen(committed=Committed(95, "")), Resume(80, ignored=True)),
        (seen(committed=Committed(500, "")), Resume(80, ignored=True)),
        (seen(committed=Committed(30, f"{MARK}:x")), Resume(30)),
        (seen(committed=Committed(500, mark(4))), Resume(80)),
        (seen(committed=Committed(500, MARK)), Resume(80)),
        (seen(log=Log(100, 120), found=None), Resume(90)),
        (seen(log=Log(100, 100), found=None), Resume(90)),
        (seen(cursor=cursor(last=None), found=None), Resume(90)),
    ],
)
def test_it_goes_on(sight: PartitionState, decision: Resume) -> None:
    assert decide(sight) == decision


@pytest.mark.parametrize(
    ("sight", "reason"),
    [
        (seen(committed=Committed(101, mark(5))), HaltReason.RESTORED),
        (seen(committed=Committed(3, mark(6))), HaltReason.RESTORED),
        (seen(log=Log(0, 99)), HaltReason.TOPIC_RECREATED),
        (seen(found=b"another"), HaltReason.TOPIC_RECREATED),
        (seen(found=None), HaltReason.TOPIC_RECREATED),
        (seen(log=Log(101, 120), found=None), HaltReason.RETENTION),
        (seen(gap=103), HaltReason.GAP),
        (seen(stream=Stream("raw", 5, "group")), HaltReason.STREAM),
        (seen(stream=Stream("raw", 4, "other")), HaltReason.STREAM),
        (seen(stream=Stream("prefix.raw", 4, "group")), HaltReason.STREAM),
        (seen(cursor=cursor(recover_until=110)), HaltReason.INTERRUPTED),
    ],
)
def test_it_halts_with_the_command_that_mends_it(sight: PartitionState, reason: HaltReason) -> None:
    decision = decide(sight)
    assert isinstance(decision, Halt)
    assert decision.reason is reason
    assert "`waybill recover`" in decision.why


@pytest.mark.parametrize("recovery", [0, 1, 1_795_000_000])
def test_a_mark_names_its_recovery(recovery: int) -> None:
    assert Committed(1, mark(recovery)).recovery == recovery


@pytest.mark.parametrize("metadata", ["", "waybill", f"{MARK}:", f"{MARK}:-1", f"{MARK}0", "other"])
def test_other_metadata_is_no_mark(metadata: str) -> None:
    assert Committed(1, metadata).recovery is None


def test_the_cursor_advances_behind_the_last_record_and_never_forgets_what_is_published() -> None:
    record = msgspec.structs.replace(LAST, offset=130)
    moved = advanced(CURSOR, record, 95)
    assert (moved.next_offset, moved.emitted, moved.last) == (131, 95, Fingerprint(130, digest(record)))
    assert advanced(CURSOR, record, 10).emitted == CURSOR.emitted


@pytest.mark.parametrize(
    "changed", [{"key": b"k"}, {"key": None}, {"value": b""}, {"headers": ()}, {"timestamp_ms": 1}]
)
def test_a_digest_tells_records_apart(changed: dict[str, object]) -> None:
    assert digest(msgspec.structs.replace(LAST, **changed)) != digest(LAST)
