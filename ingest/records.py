"""A courier's body as records of the raw topic."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from schemas.couriers.base import WebhookItem
from schemas.records import ITEM, NewRecord, Provenance
from schemas.shipment_ids import shipment_id
from schemas.times import milliseconds


class Records(Protocol):
    """Records that can be gone through more than once."""

    def __len__(self) -> int:
        """Count them."""
        ...

    def __iter__(self) -> Iterator[NewRecord]:
        """Go through them in order."""
        ...


class RawRecords(msgspec.Struct, frozen=True):
    """One record of each piece of a webhook's body, in the body's order.

    They are made anew at each iteration: those of the largest body take several times its bytes. `webhook` is what a
    record alone has, and holds for all of several but for each one's place. A record's timestamp is the time received,
    its key the shipment_id, or the digest of its bytes when they name no shipment.
    """

    pieces: Sequence[WebhookItem]
    webhook: Provenance

    def __len__(self) -> int:
        """Count them."""
        return len(self.pieces)

    def __iter__(self) -> Iterator[NewRecord]:
        """Make them one by one."""
        timestamp_ms = milliseconds(self.webhook.received_at)
        shared = self.webhook.headers()
        if len(self.pieces) == 1:  # as most webhooks have
            yield NewRecord(_key(self.pieces[0], self.webhook), self.pieces[0].value, shared, timestamp_ms)
            return
        place = next(at for at, (name, _) in enumerate(shared) if name == ITEM)
        for item, piece in enumerate(self.pieces, start=1):
            headers = [*shared]
            headers[place] = (ITEM, f"{item}/{len(self.pieces)}".encode())
            yield NewRecord(_key(piece, self.webhook), piece.value, headers, timestamp_ms)


def _key(piece: WebhookItem, webhook: Provenance) -> bytes:
    if piece.reference is None:
        return hashlib.blake2b(piece.value, digest_size=16).hexdigest().encode()
    return shipment_id(webhook.courier, webhook.account, piece.reference).encode()
