"""A courier's body as records of the raw topic."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from schemas.couriers.base import Piece, shipment_id
from schemas.records import Headers, Provenance

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Record(msgspec.Struct, frozen=True):
    """One record to be appended to the raw topic. `timestamp_ms`: milliseconds since the epoch."""

    key: bytes
    value: bytes
    headers: Headers
    timestamp_ms: int


def raw_records(pieces: Sequence[Piece], webhook: Provenance) -> Iterator[Record]:
    """Make one record of each piece of a webhook's body, in the body's order.

    `webhook` holds for all of them but for each one's place. The record's timestamp is the time received, its key
    the shipment_id, or the digest of its bytes when they name no shipment.
    """
    timestamp_ms = (webhook.received_at - _EPOCH) // timedelta(milliseconds=1)
    for item, piece in enumerate(pieces, start=1):
        provenance = msgspec.structs.replace(webhook, item=item, items=len(pieces))
        yield Record(_key(piece, webhook), piece.value, provenance.headers(), timestamp_ms)


def _key(piece: Piece, webhook: Provenance) -> bytes:
    if piece.reference is None:
        return hashlib.blake2b(piece.value, digest_size=16).hexdigest().encode()
    return shipment_id(webhook.courier, webhook.account, piece.reference).encode()
