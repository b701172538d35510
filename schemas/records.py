"""The raw record: one courier body, or one item of it, with the headers that tell where it comes from."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

import msgspec

from schemas.times import format_time, read_time
from schemas.vocabulary import DeadLetterReason, Source

Headers = list[tuple[str, bytes]]
"""Kafka's record headers."""

ITEM: Final = "item"
"""The header that says which of its webhook's items a record is."""


class UnreadableError(Exception):
    """A raw record gives no observation. It becomes a dead letter with this reason and detail."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        """Keep the reason and a sentence for the operator, free of personal data."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Provenance(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Where a raw record comes from. `item` of `items` is its place in the webhook's body, from 1.

    A record with `replay_of`, the coordinates `<partition>:<offset>` of its root, is the root to be read again: all but
    `source`, `replay_of` and `command_id` are the root's, whose own source is `root_source`.
    """

    courier: str
    received_at: datetime
    source: Source = Source.PUSH
    account: str | None = None
    webhook_id: str | None = None
    item: int = 1
    items: int = 1
    replay_of: str | None = None
    root_source: Source = Source.PUSH
    command_id: str | None = None
    content_type: str | None = None

    @property
    def root(self) -> tuple[int, int] | None:
        """The root's partition and offset, where a record is to be read again."""
        return coordinates(self.replay_of) if self.replay_of else None

    def headers(self) -> Headers:
        """Write the raw record's headers. Empty ones are left out."""
        texts = (
            ("courier", self.courier),
            ("account", self.account),
            ("webhook-id", self.webhook_id),
            (ITEM, f"{self.item}/{self.items}"),
            ("received-at", format_time(self.received_at)),
            ("source", self.source),
            ("replay-of", self.replay_of),
            ("root-source", self.root_source if self.root_source is not Source.PUSH else None),
            ("command-id", self.command_id),
            ("content-type", self.content_type),
        )
        return [(name, text.encode()) for name, text in texts if text]


def coordinates(text: str) -> tuple[int, int]:
    """Read `<partition>:<offset>`.

    Raises:
        ValueError: it is of another form.

    """
    partition, _, offset = text.partition(":")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise ValueError(f"{text!r} is no <partition>:<offset>")
    return int(partition), int(offset)


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


def _checked(replay_of: str | None) -> str | None:
    if replay_of is not None:
        coordinates(replay_of)
    return replay_of


def reread_headers(root: RawRecord, command_id: str) -> Headers:
    """Write the headers of a record that makes `root` be read again. A root that was one itself names its own root."""
    headers = dict(root.headers)
    if "replay-of" not in headers:
        source = headers.get("source", Source.PUSH.encode())
        headers |= {"replay-of": root.at.encode()}
        if source != Source.PUSH.encode():
            headers |= {"root-source": source}
    return list((headers | {"source": Source.REPLAY.encode(), "command-id": command_id.encode()}).items())


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
            replay_of=_checked(texts.get("replay-of")),
            root_source=Source(texts.get("root-source", Source.PUSH)),
            command_id=texts.get("command-id"),
            content_type=texts.get("content-type"),
        )
    except KeyError as error:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the record has no courier header") from error
    except ValueError as error:
        raise UnreadableError(
            DeadLetterReason.UNKNOWN_SHAPE, "the record's source, item, root or timestamp is odd"
        ) from error
