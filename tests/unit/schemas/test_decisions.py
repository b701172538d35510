"""Operators' records: what was written is read, and whatever else stands on the topic ends as a dead letter."""

from datetime import UTC, datetime

import msgspec
import pytest

from schemas.decisions import MAX_DECIDED, read_decision, write_decision
from schemas.observation import Accept, Decision, Dismiss, Erase, Retire, SetStatus
from schemas.records import Provenance, UnreadableError
from schemas.vocabulary import DeadLetterReason, Source, Status

AT = datetime(2026, 11, 1, 8, tzinfo=UTC)
HEADERS = Provenance(courier="dash", account="shop", received_at=AT, source=Source.OPERATOR, command_id="c1")
WHOSE = "dash.shop:DE-1"
WHO = {"shipment_id": WHOSE, "by": "dewi", "reason": "seen"}
ANOMALY = f"{WHOSE}/anomaly/0:7/illegal_transition"


@pytest.mark.parametrize(
    "decision",
    [
        SetStatus(**WHO, status=Status.RETURNED),
        Accept(**WHO, anomaly_id=ANOMALY, record="0f" * 16),
        Dismiss(**WHO, anomaly_id=ANOMALY),
        Erase(**WHO),
        Retire(**WHO, silent_since=AT, unfinished=False),
        Retire(**WHO, silent_since=AT, unfinished=True),
    ],
)
def test_what_was_decided_is_read(decision: Decision) -> None:
    observation = read_decision(write_decision(decision), HEADERS)
    assert observation.decision == decision
    assert (observation.shipment_id, observation.reference, observation.received_at) == (WHOSE, "DE-1", AT)
    assert observation.takes_part is isinstance(decision, SetStatus)
    again = read_decision(write_decision(decision), msgspec.structs.replace(HEADERS, command_id="c2"))
    assert again.record_digest != observation.record_digest


def command(name: str, **more: object) -> bytes:
    return msgspec.json.encode({"command": name, **WHO, **more})


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        command("explode"),
        command("set_status", status="LOST_IN_SPACE"),
        command("set_status"),
        command("accept", anomaly_id=ANOMALY, record="no digest"),
        command("accept", anomaly_id=ANOMALY, record="0f"),
        command("dismiss"),
        command("retire", silent_since="2026-11-01T08:00:00"),
        command("erase", reason="x" * (MAX_DECIDED + 1)),
        command("erase", shipment_id="dash:DE-1"),
        command("erase", shipment_id="kiriminaja.shop:DE-1"),
    ],
)
def test_everything_else_is_a_dead_letter(value: bytes) -> None:
    with pytest.raises(UnreadableError) as caught:
        read_decision(value, HEADERS)
    assert caught.value.reason is DeadLetterReason.UNKNOWN_SHAPE
