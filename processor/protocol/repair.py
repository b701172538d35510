"""How a halted partition is mended. Pure."""

from datetime import datetime
from typing import Final

import msgspec

from processor.core.cursor import Cursor, emission
from processor.core.effects import Changed
from processor.core.outputs import Origin, Output, event_output
from processor.core.state import Shipment
from processor.protocol.claims import Halt, HaltReason, PartitionState, decide, is_recreated, is_restored
from schemas.couriers import COURIERS
from schemas.events import RawCoordinates, State, state_after
from schemas.observation import Observation
from schemas.records import RawRecord
from schemas.vocabulary import EventType, Source, Transition

SAYS: Final = {
    HaltReason.INTERRUPTED: "finish what an interrupted recovery began",
    HaltReason.STREAM: "adopt the topic, partition count and group in force",
}


class Repair(msgspec.Struct, frozen=True):
    """What is to be done for one partition.

    What is stored and not yet published is published first, from `publish_from` (None: nothing is). Then the cursor
    becomes `cursor`. Up to its `recover_until`, if that is set, records are applied without publishing, and the
    shipments compared with what is published. `lost` counts offsets that were gone before they were applied;
    `steps` says all this for an operator.
    """

    reason: HaltReason
    why: str
    publish_from: int | None
    cursor: Cursor
    lost: int
    steps: tuple[str, ...]


def repair(sight: PartitionState, moment: int) -> Repair | None:
    """Decide how a partition is mended; None if it needs no mending.

    `moment` (seconds since the epoch) makes the recovery's number unique, however old the database is.
    """
    halt = decide(sight)
    if not isinstance(halt, Halt):
        return None
    old = sight.cursor
    if halt.reason is HaltReason.INTERRUPTED:
        steps = (SAYS[HaltReason.INTERRUPTED], *_derivation(old))
        return Repair(reason=halt.reason, why=halt.why, publish_from=None, cursor=old, lost=0, steps=steps)
    committed, log = sight.committed, sight.log
    anew, restored = is_recreated(sight), is_restored(sight)
    marked = committed.recovery if committed and committed.recovery is not None else 0
    recovery = max(old.recovery, marked, moment - 1) + 1
    start = log.start if anew else max(old.next_offset, log.start, sight.gap or 0)
    until, incarnation = None, recovery if anew else old.incarnation
    if restored:
        assert committed is not None
        of_this_log = not anew or marked > old.recovery
        until = min(max(start, committed.offset), log.end) if of_this_log else start
        if until == start or until < committed.offset:
            incarnation = recovery
    goes_on = start == old.next_offset and not anew
    cursor = msgspec.structs.replace(
        old,
        raw_topic=sight.stream.raw_topic,
        partitions=sight.stream.partitions,
        consumer_group=sight.stream.consumer_group,
        next_offset=start,
        emitted=start,
        incarnation=incarnation,
        recovery=recovery,
        last=old.last if goes_on else None,
        recover_until=until,
        began_at=old.began_at if start == old.next_offset and incarnation == old.incarnation else start,
    )
    lost = 0 if anew else start - old.next_offset
    publish_from = None if restored else _unpublished(sight)
    return Repair(
        reason=halt.reason,
        why=halt.why,
        publish_from=publish_from,
        cursor=cursor,
        lost=lost,
        steps=_steps(sight, cursor, publish_from, lost),
    )


def correction(
    shipment: Shipment,
    said: Observation,
    raw: tuple[str, int, int],
    published: State | None,
    place: tuple[int, int, int],
    now: datetime,
) -> Output | None:
    """Return the correction of a shipment whose published state differs from what the database derives; else None.

    `said` is what was said last about it, `raw` that record's topic, partition and offset. `place` is the correction's
    among the stored outputs: partition, cause, ordinal. Its version is the first that nobody was given.
    """
    snapshot = shipment.snapshot
    assert snapshot is not None
    topic, partition, offset = raw
    origin = Origin(topic, RawRecord(partition, offset, None, b"", (), 0), now)
    version = (published or shipment).version + 1
    previous = published.status if published else None
    moved = published is not None and published.status is not snapshot.status
    change = Changed(EventType.CORRECTED, previous, transition=Transition.CORRECTION if moved else None, late=True)
    output = event_output(COURIERS[said.courier], origin, said, snapshot, change, version)
    assert output.event is not None
    if published is not None and _content(state_after(output.event)) == _content(published):
        return None
    home, cause, ordinal = place
    return msgspec.structs.replace(output, partition=home, cause=cause, ordinal=ordinal)


def _content(state: State) -> State:
    """Leave only what the fold gives: neither version, nor which webhook was the last, nor when."""
    return msgspec.structs.replace(
        state, version=0, received_at="", recorded_at="", source=Source.PUSH, raw=RawCoordinates("", 0, 0)
    )


def _unpublished(sight: PartitionState) -> int | None:
    from_ = emission(sight.cursor, sight.committed).emit_from
    return from_ if from_ < sight.cursor.next_offset else None


def _steps(sight: PartitionState, cursor: Cursor, publish_from: int | None, lost: int) -> tuple[str, ...]:
    old, steps = sight.cursor, []
    if publish_from is not None:
        steps.append(f"publish the outputs stored for offsets {publish_from} to {old.next_offset}")
    if old.stream != sight.stream:
        steps.append(f"{SAYS[HaltReason.STREAM]}: {sight.stream}")
    if lost:
        steps.append(f"give up {lost} records that are gone from the log: {old.next_offset} to {cursor.next_offset}")
    if cursor.incarnation != old.incarnation:
        steps.append("begin a new incarnation of stored coordinates")
    steps += _derivation(cursor)
    steps.append(f"go on at offset {cursor.next_offset if cursor.recover_until is None else cursor.recover_until}")
    return tuple(steps)


def _derivation(cursor: Cursor) -> tuple[str, ...]:
    if cursor.recover_until is None:
        return ()
    again = f"apply offsets {cursor.next_offset} to {cursor.recover_until} again without publishing"
    return (
        *([again] if cursor.next_offset < cursor.recover_until else []),
        "compare every shipment with shipment.state and issue one shipment.corrected where they differ",
    )
