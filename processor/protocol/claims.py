"""What a claim decides from what it read: `core/cursor.py` says what the two offsets mean. Pure."""

from enum import StrEnum
from typing import Final

import msgspec

from processor.core.cursor import Committed, Cursor, Resume, Stream, emission

MEND: Final = "`waybill recover` mends it"


class Log(msgspec.Struct, frozen=True):
    """The partition's first offset and the one behind its last."""

    start: int
    end: int


class PartitionState(msgspec.Struct, frozen=True):
    """All that a claim reads before it decides.

    `found` is the digest of the record at the offset of the cursor's last one; None if there is none. `narrow` says
    which of our topics lack this partition, if some do. `gap`: the log has no record at the cursor, nothing explains
    it, and this is the offset of the first record behind.
    """

    cursor: Cursor
    committed: Committed | None
    log: Log
    stream: Stream
    found: bytes | None
    narrow: str | None = None
    gap: int | None = None


class HaltReason(StrEnum):
    """What stops a partition until an operator has looked."""

    INTERRUPTED = "interrupted"
    NARROW = "narrow"
    STREAM = "stream"
    TOPIC_RECREATED = "anew"
    RETENTION = "retention"
    GAP = "gap"
    RESTORED = "restored"


class Halt(msgspec.Struct, frozen=True):
    """Stop the partition. `why` is one sentence for the operator."""

    reason: HaltReason
    why: str


def deleted_before(cursor: Cursor) -> int:
    """Return how many records the log had lost before a partition's first claim; 0 once a record was applied."""
    is_first = cursor.last is None and cursor.recovery == 0 and cursor.next_offset == cursor.began_at
    return cursor.began_at if is_first else 0


def decide(sight: PartitionState) -> Resume | Halt:
    """Decide how a claim goes on."""
    cursor, log = sight.cursor, sight.log
    if cursor.recover_until is not None:
        return Halt(
            HaltReason.INTERRUPTED,
            "a recovery is under way, or was interrupted: `waybill recover` run again finishes it",
        )
    if sight.narrow is not None:
        return Halt(HaltReason.NARROW, f"what this partition gives cannot be published: {sight.narrow}")
    if cursor.stream != sight.stream:
        return Halt(
            HaltReason.STREAM,
            f"the database belongs to {cursor.stream}, not to {sight.stream}: set that right, or {MEND}",
        )
    if log.end < cursor.next_offset:
        return Halt(
            HaltReason.TOPIC_RECREATED,
            f"the log ends at {log.end}, before the next offset {cursor.next_offset}: the topic was made anew or has "
            f"lost its newest records; {MEND}",
        )
    if is_recreated(sight):
        assert cursor.last is not None
        return Halt(
            HaltReason.TOPIC_RECREATED,
            f"the record at offset {cursor.last.offset} is not the one that was applied: this is another topic "
            f"under the same name; {MEND}",
        )
    if log.start > cursor.next_offset:
        return Halt(
            HaltReason.RETENTION,
            f"the log starts at {log.start}, behind the next offset {cursor.next_offset}: retention has removed "
            f"records before they were applied; {MEND}",
        )
    if sight.gap is not None:
        return Halt(
            HaltReason.GAP,
            f"the log has no record from offset {cursor.next_offset} up to {sight.gap}: they are gone before they were "
            f"applied, by compaction or with a part of a broker's disk; {MEND}",
        )
    if is_restored(sight):
        assert sight.committed is not None
        return Halt(
            HaltReason.RESTORED,
            f"everything before offset {sight.committed.offset} is published, but the database, at "
            f"{cursor.next_offset}, does not know all of it: it was restored from a backup, or a standby that was "
            f"behind took over; {MEND}",
        )
    return emission(cursor, sight.committed)


def before_growth(sight: PartitionState) -> PartitionState | None:
    """Return what a claim sees that goes on as before its topic grew; None where it did not, or it has no cursor.

    Until the growth is adopted, all records that came before it have the partition they had: one writer each.
    """
    cursor, stream = sight.cursor, sight.stream
    grown = msgspec.structs.replace(cursor.stream, partitions=stream.partitions) == stream
    if not (grown and cursor.epoch and cursor.partitions < stream.partitions):
        return None
    return msgspec.structs.replace(sight, stream=cursor.stream)


def is_recreated(sight: PartitionState) -> bool:
    """Whether the log is not the one that the cursor was moved along.

    A last record that retention has removed proves nothing.
    """
    last, log = sight.cursor.last, sight.log
    if log.end < sight.cursor.next_offset:
        return True
    return last is not None and log.start <= last.offset and sight.found != last.digest


def is_restored(sight: PartitionState) -> bool:
    """Whether more was published than the database knows of."""
    cursor, committed = sight.cursor, sight.committed
    if committed is None or committed.recovery is None or committed.recovery < cursor.recovery:
        return False
    return committed.recovery > cursor.recovery or committed.offset > cursor.next_offset
