"""The raw record: one courier body, or one item of it, with the headers that tell where it comes from."""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

from schemas.times import format_time, read_time
from schemas.vocabulary import DeadLetterReason, Source

Headers = list[tuple[str, bytes]]
"""Kafka's record headers."""


class UnreadableError(Exception):
    """A raw record gives no observation. It becomes a dead letter with this reason and detail."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        """Keep the reason and a sentence for the operator, free of personal data."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Provenance(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Where a raw record comes from. `item` of `items` is its place in the webhook's body, from 1."""

    courier: str
    received_at: datetime
    source: Source = Source.PUSH
    account: str | None = None
    webhook_id: str | None = None
    item: int = 1
    items: int = 1
    replay_of: str | None = None
    command_id: str | None = None
    content_type: str | None = None

    def headers(self) -> Headers:
        """Write the raw record's headers. Empty ones are left out."""
        texts = (
            ("courier", self.courier),
            ("account", self.account),
            ("webhook-id", self.webhook_id),
            ("item", f"{self.item}/{self.items}"),
            ("received-at", format_time(self.received_at)),
            ("source", self.source),
            ("replay-of", self.replay_of),
            ("command-id", self.command_id),
            ("content-type", self.content_type),
        )
        return [(name, text.encode()) for name, text in texts if text]


class RawRecord(msgspec.Struct, frozen=True, gc=False):
    """One record of the raw topic, and the coordinates it was read from."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp_ms: int

    @property
    def at(self) -> str:
        """The coordinates, `<partition>:<offset>`."""
        return f"{self.partition}:{self.offset}"


def read_provenance(headers: Iterable[tuple[str, bytes]], timestamp_ms: int) -> Provenance:
    """Read a raw record's headers.

    Without a readable `received-at` the record's own timestamp counts (milliseconds since the epoch).

    Raises:
        UnreadableError: the courier is missing, or a header is not of its form.

    """
    texts = {name: str(value, "utf-8", "replace") for name, value in headers if value is not None}
    received = read_time(texts.get("received-at"), UTC)
    item, _, items = texts.get("item", "1/1").partition("/")
    try:
        return Provenance(
            courier=texts["courier"],
            received_at=received[0] if received else datetime.fromtimestamp(timestamp_ms / 1000, UTC),
            source=Source(texts.get("source", Source.PUSH)),
            account=texts.get("account") or None,
            webhook_id=texts.get("webhook-id"),
            item=int(item),
            items=int(items),
            replay_of=texts.get("replay-of"),
            command_id=texts.get("command-id"),
            content_type=texts.get("content-type"),
        )
    except (KeyError, ValueError) as error:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, f"the record's headers: {error!r}") from error
