"""What operators decide about one shipment. A decision is appended to the raw topic and applied like a webhook.

Its record has the source `operator`, the shipment's key and courier, and a `command-id` that makes it apply once.
"""

from typing import Final

import msgspec

from schemas.couriers.base import shipment_id
from schemas.observation import Decision, Details, Observation, SetStatus
from schemas.records import Provenance, UnreadableError
from schemas.tolerant_json import digest
from schemas.vocabulary import DeadLetterReason, Source

_write: Final = msgspec.json.Encoder().encode
_read: Final = msgspec.json.Decoder(Decision).decode


def write_decision(decision: Decision) -> bytes:
    """Write a decision as a raw record's value."""
    return _write(decision)


def read_decision(value: bytes, provenance: Provenance) -> Observation:
    """Read an operator's record.

    Raises:
        UnreadableError: `unknown_shape`: it is no decision, or its headers are of another shipment.

    """
    try:
        decision = _read(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "no operator's decision") from error
    _, _, reference = decision.shipment_id.partition(":")
    if decision.shipment_id != shipment_id(provenance.courier, provenance.account, reference):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the decision is about another shipment than its headers")
    identity = digest((provenance.command_id, msgspec.to_builtins(decision)))
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
    )
