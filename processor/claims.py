"""What a claim decides from what it read. Pure.

Postgres leads: its cursor says what is applied. The group's committed offset says what is published, where it carries
our mark; without the mark somebody moved it with Kafka's own tools.
"""

from typing import Final

import msgspec

MARK: Final = "waybill/1"
"""Stands in the metadata of every offset that the processor commits."""


class Cursor(msgspec.Struct, frozen=True):
    """A partition's cursor as the claim took it over. Everything before `emitted` is known to be published."""

    raw_topic: str
    partitions: int
    consumer_group: str
    next_offset: int
    emitted: int
    epoch: int


class Committed(msgspec.Struct, frozen=True):
    """The group's committed offset for the partition, with its metadata."""

    offset: int
    metadata: str

    @property
    def ours(self) -> bool:
        """Whether the processor committed it."""
        return self.metadata == MARK


class Stream(msgspec.Struct, frozen=True):
    """What is read, and for whom."""

    raw_topic: str
    partitions: int
    consumer_group: str


class Log(msgspec.Struct, frozen=True):
    """The partition's first offset and the one behind its last."""

    start: int
    end: int


class Resume(msgspec.Struct, frozen=True):
    """Publish the stored outputs from `emit_from` up to the cursor, then go on at the cursor.

    `ignored`: the committed offset was moved ahead by hand and means nothing.
    """

    emit_from: int
    ignored: bool = False


class Halt(msgspec.Struct, frozen=True):
    """Stop the partition. `why` is one sentence for the operator."""

    why: str


def decide(cursor: Cursor, committed: Committed | None, log: Log, stream: Stream) -> Resume | Halt:
    """Decide how a claim goes on."""
    remembered = Stream(cursor.raw_topic, cursor.partitions, cursor.consumer_group)
    if remembered != stream:
        return Halt(f"the database belongs to {_named(remembered)}, not to {_named(stream)}")
    if log.end < cursor.next_offset:
        return Halt(f"the log ends at {log.end}, before the next offset {cursor.next_offset}: records are missing")
    if log.start > cursor.next_offset:
        return Halt(f"the log starts at {log.start}, behind the next offset {cursor.next_offset}: retention passed it")
    if committed is None:
        return Resume(cursor.emitted)
    if not committed.ours:
        return Resume(min(committed.offset, cursor.emitted), ignored=committed.offset > cursor.emitted)
    if committed.offset > cursor.next_offset:
        return Halt(
            f"offset {committed.offset} is published, but the database only knows up to {cursor.next_offset}: "
            "it is older than the topics"
        )
    return Resume(committed.offset)


def _named(stream: Stream) -> str:
    return f"{stream.raw_topic} with {stream.partitions} partitions, group {stream.consumer_group}"
