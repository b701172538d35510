"""How a dead letter stands, which are redriven, and in what portions."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from operators.dead_letters.letters import (
    CHUNK_BYTES,
    FIRST_CHUNK,
    LARGEST_CHUNK,
    Letter,
    LetterSelection,
    LetterState,
    chunks,
    name_of,
    place_of,
    state_of,
)
from operators.dead_letters.redrive import Redriven, refusal
from operators.shared.rereading import reread
from processor.core.reading import Read, Unreadable
from schemas.partitioning import partition_of
from schemas.records import Provenance, RawRecord, read_provenance
from schemas.vocabulary import Source
from tests.integration.system import START, dash

DEAD_AT = datetime(2026, 11, 2, tzinfo=UTC)
BEFORE, AFTER = DEAD_AT - timedelta(seconds=1), DEAD_AT + timedelta(seconds=1)

LETTER = Letter(
    root=(0, 1, 7),
    place=(0, 1, 7),
    reason="misrouted",
    detail="",
    courier="dash",
    source="push",
    key="a",
    size=100,
    received_at=START,
    recorded_at=DEAD_AT,
    of_this_log=True,
)


@pytest.mark.parametrize(
    ("decision", "outcome", "mended_at", "state"),
    [
        (None, None, None, LetterState.OPEN),
        ("redriven", None, None, LetterState.WAITING),
        ("redriven", "event", None, LetterState.MENDED),
        ("redriven", "unchanged", AFTER, LetterState.MENDED),
        ("redriven", "dead_letter", None, LetterState.OPEN),
        ("dropped", None, None, LetterState.DROPPED),
        ("dropped", None, AFTER, LetterState.MENDED),
        (None, None, AFTER, LetterState.MENDED),  # by a replay
        (None, None, DEAD_AT, LetterState.MENDED),
        (None, None, BEFORE, LetterState.OPEN),  # it came back since
    ],
)
def test_how_a_letter_stands(
    decision: str | None, outcome: str | None, mended_at: datetime | None, state: LetterState
) -> None:
    assert state_of(LETTER, decision, outcome, mended_at) is state


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"state": LetterState.MENDED}, "success"),
        ({"of_this_log": False}, "made anew"),
        ({"source": "operator"}, "decide again"),
        ({"size": None}, "erased"),
    ],
)
def test_what_cannot_be_redriven(change: dict[str, object], word: str) -> None:
    assert refusal(LETTER) is None
    assert word in str(refusal(msgspec.structs.replace(LETTER, **change)))


@pytest.mark.parametrize("count", [0, 1, FIRST_CHUNK, FIRST_CHUNK + 1, 5000])
def test_chunks_grow_and_lose_nothing(count: int) -> None:
    letters = [msgspec.structs.replace(LETTER, root=(0, 0, number)) for number in range(count)]
    cut = chunks(letters)
    assert [letter for chunk in cut for letter in chunk] == letters
    assert all(0 < len(chunk) <= LARGEST_CHUNK for chunk in cut)
    assert not cut or len(cut[0]) == min(count, FIRST_CHUNK)


def test_chunks_of_large_bodies_fit_into_memory() -> None:
    letters = [
        msgspec.structs.replace(LETTER, root=(0, 0, number), size=CHUNK_BYTES // 3 if number % 4 else 2 * CHUNK_BYTES)
        for number in range(100)
    ]
    cut = chunks(letters)
    assert [letter for chunk in cut for letter in chunk] == letters
    assert all(len(chunk) == 1 or sum(each.size or 0 for each in chunk) <= CHUNK_BYTES for chunk in cut)


@pytest.mark.parametrize(
    ("came_back", "ratio", "exceeds"), [(0, 0, False), (10, 0.5, False), (11, 0.5, True), (20, 1, False)]
)
def test_the_failure_ratio_counts_what_is_applied(came_back: int, ratio: float, exceeds: bool) -> None:
    done = Redriven("job", 100, 30, {"dead_letter": came_back, "event": 20 - came_back})
    assert (done.applied, done.came_back, done.exceeds(ratio)) == (20, came_back, exceeds)
    assert not Redriven("job", 100, 30).exceeds(0)


@pytest.mark.parametrize("name", ["", "1", "1:", ":1", "1:2:3", "a:b", "-1:2", "x/1:2", "1 :2"])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        place_of(name)


def test_names() -> None:
    assert place_of("3:14") == (None, 3, 14)
    assert place_of("2/3:14") == (2, 3, 14)
    assert (name_of((0, 3, 14)), name_of((2, 3, 14))) == ("3:14", "2/3:14")


def test_what_a_selection_holds() -> None:
    assert LetterSelection().holds(LETTER)
    assert LetterSelection(reasons=("misrouted", "too_deep"), couriers=("dash",), since=DEAD_AT).holds(LETTER)
    for other in (
        LetterSelection(reasons=("too_deep",)),
        LetterSelection(couriers=("kiriminaja",)),
        LetterSelection(since=AFTER),
    ):
        assert not other.holds(LETTER)


def _root(value: bytes, key: bytes | None = b"a", **provenance: object) -> RawRecord:
    headers = Provenance(courier="dash", received_at=START, **provenance).headers()  # type: ignore[arg-type]
    return RawRecord(1, 7, key, value, tuple(headers), 1_700_000_000_000)


def test_a_record_is_read_again_under_the_key_that_its_shipment_has() -> None:
    reading = reread(_root(dash("X", "VERIFIED", 1)), "job/1:7", lambda *_: UTC, 12)
    record = reading.record
    assert isinstance(reading, Read)
    assert record.key == b"dash:X"
    assert record.partition == partition_of(b"dash:X", 12)
    said = read_provenance(record.headers, record.timestamp_ms)
    assert (said.source, said.replay_of, said.command_id) == (Source.REPLAY, "1:7", "job/1:7")
    assert (said.received_at, record.timestamp_ms) == (START, 1_700_000_000_000)


def test_what_cannot_be_read_keeps_its_key() -> None:
    reading = reread(_root(b"{"), "job/1:7", lambda *_: UTC, 12)
    record = reading.record
    assert isinstance(reading, Unreadable)
    assert (record.key, record.partition) == (b"a", partition_of(b"a", 12))
    record = reread(_root(b"{", key=None), "job/1:7", lambda *_: UTC, 12).record
    assert record.key is None


@pytest.mark.parametrize(
    "headers", [(), (("courier", b"dash"), ("item", b"first")), (("courier", b"\xff"), ("account", b"\0"))]
)
def test_a_root_whose_headers_are_odd_is_applied_as_its_command(headers: tuple[tuple[str, bytes | None], ...]) -> None:
    """Whoever redrives it hears what came of it, and does not wait for it."""
    root = RawRecord(0, 7, b"k", b"{}", headers, 0)
    reading = reread(root, "job/0:7", lambda *_: UTC, 12)
    assert isinstance(reading, Unreadable)
    assert reading.command_id == "job/0:7"


def test_a_root_that_names_an_empty_root_is_named_itself() -> None:
    root = _root(dash("X", "VERIFIED", 1))
    root = msgspec.structs.replace(root, headers=(*root.headers, ("replay-of", b"")))
    reading = reread(root, "job/1:7", lambda *_: UTC, 12)
    assert isinstance(reading, Read)
    assert reading.root == (1, 7)


def test_one_that_came_back_names_its_first_root() -> None:
    back = _root(dash("X", "VERIFIED", 1), source=Source.REPLAY, replay_of="4:2", command_id="earlier/4:2")
    record = reread(back, "job/4:2", lambda *_: UTC, 12).record
    said = read_provenance(record.headers, record.timestamp_ms)
    assert (said.replay_of, said.root_source, said.command_id) == ("4:2", Source.PUSH, "job/4:2")
