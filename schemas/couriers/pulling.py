"""What of a courier's answer is news."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo

import msgspec

from schemas.couriers.base import Courier, WebhookItem
from schemas.observation import Observation
from schemas.records import Provenance


def news(
    courier: Courier,
    pieces: Sequence[WebhookItem],
    known: Iterable[Observation],
    provenance: Provenance,
    assumed_zone: tzinfo,
) -> list[tuple[WebhookItem, Provenance]]:
    """Return the pieces that say what is not known of their shipment, each with its place in the answer.

    `known` are the shipment's kept observations; either digest tells a piece known.

    Raises:
        UnreadableError: a piece cannot be read. None of those that a courier makes of an answer is.

    """
    digests = {digest for one in known for digest in (one.record_digest, one.reading_digest)}
    fresh = []
    for item, piece in enumerate(pieces, start=1):
        placed = msgspec.structs.replace(provenance, item=item, items=len(pieces))
        observation = courier.read(piece.value, placed, assumed_zone)
        if digests.isdisjoint((observation.record_digest, observation.reading_digest)):
            digests.add(observation.record_digest)
            fresh.append((piece, placed))
    return fresh
