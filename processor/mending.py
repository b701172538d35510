"""How a halted partition is mended. Pure."""

from typing import Final

import msgspec

from processor.claims import Cursor, Halt, Sight, Trouble, decide, emission, is_anew, is_restored

SAYS: Final = {
    Trouble.INTERRUPTED: "finish what an interrupted recovery began",
    Trouble.STREAM: "adopt the topic, partition count and group in force",
}


class Mend(msgspec.Struct, frozen=True):
    """What is to be done for one partition.

    What is stored and not yet published is published first, from `publish_from` (None: nothing is). Then the cursor
    becomes `cursor`. Up to its `recover_until`, if that is set, records are applied without publishing, and the
    shipments compared with what is published. `lost` counts offsets that retention removed before they were applied;
    `steps` says all this for an operator.
    """

    trouble: Trouble
    why: str
    publish_from: int | None
    cursor: Cursor
    lost: int
    steps: tuple[str, ...]


def mend(sight: Sight, moment: int) -> Mend | None:
    """Decide how a partition is mended; None if it needs no mending.

    `moment` (seconds since the epoch) makes the recovery's number unique, however old the database is.
    """
    halt = decide(sight)
    if not isinstance(halt, Halt):
        return None
    old = sight.cursor
    if halt.trouble is Trouble.INTERRUPTED:
        return Mend(halt.trouble, halt.why, None, old, 0, (SAYS[Trouble.INTERRUPTED], *_derivation(old)))
    committed, log = sight.committed, sight.log
    anew, restored = is_anew(sight), is_restored(sight)
    marked = committed.recovery if committed and committed.recovery is not None else 0
    recovery = max(old.recovery, marked, moment - 1) + 1
    start = log.start if anew else max(old.next_offset, log.start)
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
    )
    lost = 0 if anew else max(0, log.start - old.next_offset)
    publish_from = None if restored else _unpublished(sight)
    return Mend(halt.trouble, halt.why, publish_from, cursor, lost, _steps(sight, cursor, publish_from, lost))


def _unpublished(sight: Sight) -> int | None:
    from_ = emission(sight.cursor, sight.committed).emit_from
    return from_ if from_ < sight.cursor.next_offset else None


def _steps(sight: Sight, cursor: Cursor, publish_from: int | None, lost: int) -> tuple[str, ...]:
    old, steps = sight.cursor, []
    if publish_from is not None:
        steps.append(f"publish the outputs stored for offsets {publish_from} to {old.next_offset}")
    if old.stream != sight.stream:
        steps.append(f"{SAYS[Trouble.STREAM]}: {sight.stream}")
    if lost:
        steps.append(f"give up {lost} records that retention has removed: {old.next_offset} to {sight.log.start}")
    if cursor.incarnation != old.incarnation:
        steps.append("begin a new incarnation of stored coordinates")
    steps += _derivation(cursor)
    steps.append(f"go on at offset {cursor.next_offset if cursor.recover_until is None else cursor.recover_until}")
    return tuple(steps)


def _derivation(cursor: Cursor) -> tuple[str, ...]:
    if cursor.recover_until is None:
        return ()
    return (
        f"apply offsets {cursor.next_offset} to {cursor.recover_until} again without publishing",
        "compare every shipment with shipment.state and issue one shipment.corrected where they differ",
    )
