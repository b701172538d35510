"""What operators decide about one shipment. A decision is appended to the raw topic and applied like a webhook.

Its record has the source `operator`, the shipment's key and courier, and a `command-id` that makes it apply once.
"""

import re
from typing import Any, Final

import msgspec

from schemas.couriers.base import check_reference
from schemas.observation import EDITION, Accept, Decision, Details, Observation, Retire, SetStatus
from schemas.records import Provenance, UnreadableError
from schemas.shipment_ids import parse_shipment_id, shipment_id
from schemas.tolerant_json import digest, unstorable
from schemas.vocabulary import DeadLetterReason, Source

MAX_DECIDED: Final = 2_000
"""Characters of each text of a decision: the event that shows it must fit into a message."""

_RECORD: Final = re.compile("[0-9a-f]{32}")

_write: Final = msgspec.json.Encoder().encode
_read: Final = msgspec.json.Decoder(Decision).decode


def write_decision(decision: Decision) -> bytes:
    """Write a decision as a raw record's value."""
    return _write(decision)


def read_decision(value: bytes, provenance: Provenance) -> Observation:
    """Read an operator's record.

    Raises:
        UnreadableError: `unknown_shape`: it is no decision, or its headers are of another shipment; `unstorable`: a
            text has characters no database takes; `no_shipment`: the shipment's reference is none.

    """
    try:
        decision = _read(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "no operator's decision") from error
    _check(decision)
    reference = parse_shipment_id(decision.shipment_id).reference
    if decision.shipment_id != shipment_id(provenance.courier, provenance.account, reference):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the decision is about another shipment than its headers")
    check_reference(reference, "the decision's reference")
    identity = digest((provenance.command_id, as_said(decision)))
    status = decision.status if isinstance(decision, SetStatus) else None
    return Observation(
        shipment_id=decision.shipment_id,
        courier=provenance.courier,
        account=provenance.account,
        reference=reference,
        word=status or str(type(decision).__struct_config__.tag),
        status=status,
        known=True,
        received_at=provenance.received_at,
        source=Source.OPERATOR,
        record_digest=identity,
        reading_digest=identity,
        details=Details(reason=decision.reason) if status else Details(),
        decision=decision,
        edition=EDITION,
    )


def as_said(decision: Decision) -> dict[str, Any]:
    """Return a decision as plain values, as the operators' log has it."""
    said: dict[str, Any] = msgspec.to_builtins(decision)
    return said


def decision_digest(decision: Decision) -> bytes:
    """Identify what was decided, whatever version wrote it and in whatever bytes."""
    return digest(as_said(decision))


def _check(decision: Decision) -> None:
    """Refuse what no operator's command writes. What is stored already is not asked."""
    texts = [text for text in msgspec.structs.astuple(decision) if isinstance(text, str)]
    if any(len(text) > MAX_DECIDED for text in texts):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, f"a text of more than {MAX_DECIDED} characters")
    if any(map(unstorable, texts)):
        raise UnreadableError(DeadLetterReason.UNSTORABLE, "the decision holds a NUL or a lone surrogate")
    if isinstance(decision, Accept) and not _RECORD.fullmatch(decision.record):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the decision names no record")
    if isinstance(decision, Retire) and decision.silent_since.tzinfo is None:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the decision's time has no zone")
