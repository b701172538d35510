"""The raw record: one courier body, or one item of it, with the headers that tell where it comes from."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, cast

import msgspec

from schemas.times import EARLIEST, LATEST, format_time, moment_of, read_time
from schemas.traces import TRACEPARENT, sampled
from schemas.vocabulary import DeadLetterReason, Source

Headers = list[tuple[str, bytes]]
"""Kafka's record headers, as we write them."""

AnyHeaders = Sequence[tuple[str, bytes | None]]
"""Kafka's record headers, as anybody may: a value may be null, a name may come again."""

SentHeaders = Headers | list[tuple[str, bytes | None]]
"""Headers to be published, ours or anybody's: Kafka's client takes a list, no other sequence."""

MAX_NAME_BYTES: Final = 512
"""The longest `webhook-id` and `command-id`: ours have at most some 250 bytes, and the database indexes command ids."""

MAX_PARTITION: Final = 2**31 - 1
MAX_OFFSET: Final = 2**63 - 1
"""The largest numbers that Kafka and the database have for them."""

ACCOUNT: Final = re.compile("[A-Za-z0-9_-]{1,64}", re.ASCII)
"""What a merchant's account may be: it becomes part of the shipment_id."""

_ITEM: Final = re.compile("([0-9]{1,9})/([0-9]{1,9})", re.ASCII)
_COORDINATES: Final = re.compile("([0-9]{1,10}):([0-9]{1,19})", re.ASCII)
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")

_SOURCES: Final[Mapping[bytes, Source]] = {source.encode(): source for source in Source}

_PUSH: Final = Source.PUSH.encode()
_REPLAY: Final = Source.REPLAY.encode()

_SELDOM: Final = frozenset({"replay-of", "root-source", "command-id", TRACEPARENT})
"""Headers of what a tool appended, or of a webhook that is traced."""

ITEM: Final = "item"
"""The header that says which of its webhook's items a record is."""


class UnreadableError(Exception):
    """A raw record gives no observation. It becomes a dead letter with this reason and detail."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        """Keep the reason and a sentence for the operator, free of personal data."""
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class UnforeseenError(UnreadableError):
    """Reading one record failed in a way nobody foresaw: a fault of ours. `__cause__` tells where."""

    def __init__(self, cause: Exception) -> None:
        """Keep the cause. The detail names its kind, never its words: these may quote the record."""
        super().__init__(DeadLetterReason.UNKNOWN_SHAPE, f"reading it failed with {type(cause).__name__}")
        self.__cause__ = cause


class Provenance(msgspec.Struct, frozen=True, gc=False):
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
    content_type: str | None = None
    replay_of: str | None = None
    root_source: Source = Source.PUSH
    command_id: str | None = None
    traceparent: str | None = None
    """Of a webhook that is traced (`schemas.traces`)."""

    @property
    def root(self) -> tuple[int, int] | None:
        """The root's partition and offset, where a record is to be read again."""
        return coordinates(self.replay_of) if self.replay_of else None

    def headers(self) -> Headers:
        """Write the raw record's headers. Empty ones are left out."""
        headers = [("courier", self.courier.encode())]
        if self.account:
            headers.append(("account", self.account.encode()))
        if self.webhook_id:
            headers.append(("webhook-id", self.webhook_id.encode()))
        headers.append((ITEM, f"{self.item}/{self.items}".encode()))
        headers.append(("received-at", format_time(self.received_at).encode()))
        headers.append(("source", self.source.encode()))
        if self.replay_of:
            headers.append(("replay-of", self.replay_of.encode()))
        if self.root_source is not Source.PUSH:
            headers.append(("root-source", self.root_source.encode()))
        if self.command_id:
            headers.append(("command-id", self.command_id.encode()))
        if self.content_type:
            headers.append(("content-type", self.content_type.encode()))
        if self.traceparent:
            headers.append((TRACEPARENT, self.traceparent.encode()))
        return headers


@lru_cache(maxsize=1)
def coordinates(text: str) -> tuple[int, int]:
    """Read `<partition>:<offset>`. Those of a record that is read again are asked for twice in a row.

    Raises:
        ValueError: it is of another form, or a number is larger than any partition or offset.

    """
    match = _COORDINATES.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no <partition>:<offset>")
    partition, offset = int(match[1]), int(match[2])
    if partition > MAX_PARTITION or offset > MAX_OFFSET:
        raise ValueError(f"{text!r} is beyond every partition or offset")
    return partition, offset


class RawRecord(msgspec.Struct, frozen=True, gc=False):
    """One record of the raw topic, and the coordinates it was read from."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int

    @property
    def at(self) -> str:
        """The coordinates, `<partition>:<offset>`."""
        return f"{self.partition}:{self.offset}"


class NewRecord(msgspec.Struct, frozen=True):
    """One record to be appended to the raw topic. `timestamp_ms` is in milliseconds since the epoch.

    Without a key it may come to stand in any partition.
    """

    key: bytes | None
    value: bytes
    headers: Headers
    timestamp_ms: int


def header_texts(headers: AnyHeaders) -> dict[str, str]:
    """Return headers as texts, by name. Of repeated ones the last with a value counts; what is no UTF-8 is replaced."""
    return {name: _text(value) for name, value in header_values(headers).items()}


def header_values(headers: AnyHeaders) -> dict[str, bytes]:
    """Return headers by name. Of repeated ones the last with a value counts."""
    found = dict(headers)
    if None in found.values():
        return {name: value for name, value in headers if value is not None}
    return cast("dict[str, bytes]", found)


def _text(value: bytes) -> str:
    return value.decode(errors="replace")


def reread_headers(root: RawRecord, command_id: str) -> Headers:
    """Write the headers of a record that makes `root` be read again. A root that was one itself names its own root.

    Only headers that mean something are taken over, each once.
    """
    headers = {name: value for name, value in root.headers if value is not None and name in _KNOWN}
    if not headers.get("replay-of"):
        source = headers.get("source", _PUSH)
        headers["replay-of"] = root.at.encode()
        if source != _PUSH:
            headers["root-source"] = source
    headers["source"] = _REPLAY
    headers["command-id"] = command_id.encode()
    return list(headers.items())


_KNOWN: Final = frozenset(
    (
        *("courier", "account", "webhook-id", "item", "received-at", "source"),
        *("replay-of", "root-source", "command-id", "content-type", TRACEPARENT),
    )
)


def command_of(headers: AnyHeaders) -> str | None:
    """Return the command id of a raw record's headers; None where they have none, or one that is odd."""
    try:
        return _name("command-id", value) if (value := header_values(headers).get("command-id")) else None
    except UnreadableError:
        return None


def traceparent_of(headers: AnyHeaders) -> str | None:
    """Return the trace of a raw record's headers; None where they have none."""
    return sampled(value) if (value := header_values(headers).get(TRACEPARENT)) else None


def read_provenance(headers: AnyHeaders, timestamp_ms: int) -> Provenance:
    """Read a raw record's headers.

    Without a readable `received-at` the record's own timestamp counts (milliseconds since the epoch).

    Raises:
        UnreadableError: the courier is missing, or a header is not of its form.

    """
    found = header_values(headers)
    given = found.get
    courier, item, source, name = given("courier"), given(ITEM), given("source"), given("webhook-id")
    if not courier:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "the record has no courier header")
    number, items = (1, 1) if item is None or item == b"1/1" else _item(_text(item))
    provenance = Provenance(  # by position, several times faster: one is made of every record
        str(courier, "utf-8", "replace"),
        _received_at(given("received-at"), timestamp_ms),
        Source.PUSH if not source or source == _PUSH else _source("source", source),
        _account(_text(value)) if (value := given("account")) else None,
        _name("webhook-id", name) if name else None,
        number,
        items,
        None if (value := given("content-type")) is None else _text(value),
    )
    return provenance if _SELDOM.isdisjoint(found) else _with_the_rest(provenance, found)


def _with_the_rest(provenance: Provenance, headers: Mapping[str, bytes]) -> Provenance:
    """Return a provenance with what few records have."""
    given = headers.get
    return msgspec.structs.replace(
        provenance,
        replay_of=_replay_of(_text(value)) if (value := given("replay-of")) else None,
        root_source=_source("root-source", value) if (value := given("root-source")) else Source.PUSH,
        command_id=_name("command-id", value) if (value := given("command-id")) else None,
        traceparent=sampled(value) if (value := given(TRACEPARENT)) else None,
    )


def _received_at(header: bytes | None, timestamp_ms: int) -> datetime:
    received = read_time(_text(header), UTC) if header else None
    if received and EARLIEST <= received[0] < LATEST:
        return received[0]
    moment = moment_of(timestamp_ms)
    if moment is None:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "neither received-at nor the timestamp can be a time")
    return moment


def _item(text: str) -> tuple[int, int]:
    match = _ITEM.fullmatch(text)
    if match is None:
        raise _odd("item")
    return int(match[1]), int(match[2])


def _source(name: str, value: bytes) -> Source:
    source = _SOURCES.get(value)
    if source is None:
        raise _odd(name)
    return source


def _account(account: str) -> str:
    if not ACCOUNT.fullmatch(account):
        raise _odd("account")
    return account


def _replay_of(root: str) -> str:
    try:
        coordinates(root)
    except ValueError:
        raise _odd("replay-of") from None
    return root


def _name(name: str, value: bytes) -> str:
    text = _text(value)
    is_plain = len(text) <= MAX_NAME_BYTES and text.isascii() and text.isprintable()
    if not is_plain and (len(text.encode()) > MAX_NAME_BYTES or _CONTROL.search(text)):
        raise _odd(name)
    return text


def _odd(name: str) -> UnreadableError:
    return UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, f"the record's {name} is odd")
