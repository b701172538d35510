"""How far a partition is applied and published: its cursor, and the offset that the group has committed. Pure.

Postgres leads: its cursor says what is applied. The group's committed offset says what is published, where it carries
our mark; without the mark somebody moved it with Kafka's own tools.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from schemas.records import RawRecord

MARK: Final = "waybill/1"
"""Stands in the metadata of every offset that the processor commits."""


class Fingerprint(msgspec.Struct, frozen=True):
    """A raw record as it was applied: by it a topic is known again."""

    offset: int
    digest: bytes


class Cursor(msgspec.Struct, frozen=True, kw_only=True):
    """A partition's cursor as the claim took it over. Everything before `emitted` is known to be published.

    `incarnation` tells stored coordinates of one log from those of another under its name. `recovery` numbers what
    `waybill recover` did; a mark of another number belongs to another life of the cursor. `last` is the last record
    applied. While a recovery is under way, records before `recover_until` are applied without publishing. Offsets of
    this incarnation before `began_at` were gone from the log before they could be applied.
    """

    raw_topic: str
    partitions: int
    consumer_group: str
    next_offset: int
    emitted: int
    epoch: int
    incarnation: int = 0
    recovery: int = 0
    last: Fingerprint | None = None
    recover_until: int | None = None
    began_at: int = 0

    @property
    def stream(self) -> "Stream":
        """What was read up to here, and for whom."""
        return Stream(raw_topic=self.raw_topic, partitions=self.partitions, consumer_group=self.consumer_group)


class Committed(msgspec.Struct, frozen=True):
    """The group's committed offset for the partition, with its metadata."""

    offset: int
    metadata: str

    @classmethod
    def of(cls, found: Mapping[int, tuple[int, str]], partition: int) -> "Committed | None":
        """Return the one of a partition, of what the brokers answered by partition."""
        return cls(*found[partition]) if partition in found else None

    @property
    def recovery(self) -> int | None:
        """The recovery whose mark it carries; None if the processor did not commit it."""
        if self.metadata == MARK:
            return 0
        number = self.metadata.removeprefix(f"{MARK}:")
        return int(number) if number != self.metadata and number.isdecimal() else None


class Stream(msgspec.Struct, frozen=True):
    """What is read, and for whom."""

    raw_topic: str
    partitions: int
    consumer_group: str

    def __str__(self) -> str:
        """Say it for an operator."""
        return f"{self.raw_topic} with {self.partitions} partitions, group {self.consumer_group}"


class Resume(msgspec.Struct, frozen=True):
    """Publish the stored outputs from `emit_from` up to the cursor, then go on at the cursor.

    `ignored`: the committed offset was moved ahead by hand and means nothing.
    """

    emit_from: int
    ignored: bool = False


def mark(recovery: int) -> str:
    """Return the metadata of an offset committed by a claim."""
    return f"{MARK}:{recovery}" if recovery else MARK


def digest(record: RawRecord) -> bytes:
    """Digest a raw record as Kafka has it."""
    hashed = blake2b(msgspec.msgpack.encode((record.key, record.value or b"", record.headers, record.timestamp_ms)))
    return hashed.digest()[:16]


def advanced(cursor: Cursor, last: RawRecord, emitted: int) -> Cursor:
    """Return the cursor behind the last record of a batch. `emitted` is what the claim knows to be published."""
    return msgspec.structs.replace(
        cursor,
        next_offset=last.offset + 1,
        emitted=max(cursor.emitted, emitted),
        last=Fingerprint(last.offset, digest(last)),
    )


def emission(cursor: Cursor, committed: Committed | None) -> Resume:
    """Decide from where stored outputs are to be published, if the database is not older than the topics."""
    if committed is None or (committed.recovery is not None and committed.recovery < cursor.recovery):
        return Resume(cursor.emitted)
    if committed.recovery is None:
        return Resume(min(committed.offset, cursor.emitted), ignored=committed.offset > cursor.emitted)
    return Resume(committed.offset)
