"""A decision counts only if an operator's command wrote it down."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from processor.core.plan import Planner
from processor.core.reading import Read, Reading, Unreadable, authorized, is_unauthorized, read
from schemas.decisions import decision_digest, write_decision
from schemas.observation import Decision, Erase, Retire, SetStatus
from schemas.records import Provenance, RawRecord, reread_headers
from schemas.vocabulary import DeadLetterReason, Source, Status
from tests.property.driving import NOW, RAW_TOPIC, zone_of

WHO: dict[str, Any] = {"shipment_id": "dash:DE-1", "by": "dewi", "reason": "seen"}
ERASE = Erase(**WHO)
SET = SetStatus(**WHO, status=Status.RETURNED)
RETIRE = Retire(**WHO, silent_since=datetime(2026, 11, 1, 8, tzinfo=UTC))


def reading(decision: Decision, command_id: str | None = "c1") -> Reading:
    headers = Provenance(courier="dash", received_at=NOW, source=Source.OPERATOR, command_id=command_id).headers()
    return read(RawRecord(0, 7, b"dash:DE-1", write_decision(decision), tuple(headers), 0), zone_of, 1)


def logged(decision: Decision, command_id: str = "c1") -> tuple[str, bytes]:
    return command_id, decision_digest(decision)


@pytest.mark.parametrize("decision", [ERASE, SET, RETIRE])
def test_what_was_written_down_counts(decision: Decision) -> None:
    (found,) = authorized([reading(decision)], {logged(SET, "c0"), logged(decision)})
    assert isinstance(found, Read)


@pytest.mark.parametrize(
    "written",
    [set(), {logged(ERASE, "c2")}, {logged(SET)}, {logged(Erase(**WHO | {"by": "ani"}))}, {("c1", b"")}],
)
def test_what_was_not_is_a_dead_letter(written: set[tuple[str, bytes]]) -> None:
    (found,) = authorized([reading(ERASE)], written)
    assert isinstance(found, Unreadable)
    assert is_unauthorized(found)
    assert found.error.reason is DeadLetterReason.UNAUTHORIZED


def test_without_a_command_id_nothing_is_decided() -> None:
    (found,) = authorized([reading(ERASE, None)], {logged(ERASE)})
    assert is_unauthorized(found)


def test_a_decision_cannot_be_smuggled_in_as_something_read_again() -> None:
    genuine = reading(ERASE)
    headers = tuple(reread_headers(genuine.record, "job/0:7"))
    again = read(msgspec.structs.replace(genuine.record, headers=headers), zone_of, 1)
    (found,) = authorized([again], {logged(ERASE)})
    assert is_unauthorized(found)


def test_a_forged_decision_does_not_use_up_a_command_id() -> None:
    forged, genuine = reading(SET), reading(ERASE)
    readings = authorized([forged, genuine], {logged(ERASE)})
    planned = Planner({}, RAW_TOPIC, NOW).add_all(readings)
    assert len(planned.dead_letters) == 1
    assert [command.command_id for command in planned.commands] == ["c1"]
    assert planned.erased == {"dash:DE-1"}


def test_webhooks_need_no_row() -> None:
    headers = Provenance(courier="dash", received_at=NOW).headers()
    webhook = read(RawRecord(0, 0, b"k", b'{"deliveryID":"DE-1","status":"FAILED"}', tuple(headers), 0), zone_of, 1)
    assert authorized([webhook], frozenset()) == [webhook]
