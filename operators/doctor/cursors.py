"""What `waybill doctor` looks at in the cursors: which partitions stand still, and how far the others are."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Final

from operators.doctor.finding import Finding, Level, some
from operators.views.lag import Lag, find_lag, total
from processor.core.cursor import Cursor
from processor.storage.recovery import RecoveryStore
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings

Halted = Callable[[Settings], Awaitable[Mapping[int, str]]]
"""Returns the partitions that stand still until `waybill recover` has run, each with why."""

WAITING: Final = timedelta(minutes=5)
"""How old the oldest waiting record may be before somebody should look: a processor's death costs some ten seconds."""


async def look_at_cursors(settings: Settings, halted: Halted) -> AsyncIterator[Finding]:
    """Look which partitions need a recovery; where none does, how far each is."""
    why = await halted(settings)
    async with await open_pool(settings, OPERATOR, 1) as pool:
        cursors = await RecoveryStore(pool).cursors()
    for partition, reason in sorted(why.items()):
        yield Finding(Level.FAIL, "cursors", f"partition {partition}: {reason}", "`waybill recover`")
    if not why:
        lags = await find_lag(settings)
        for finding in of_lag(lags, cursors):
            yield finding


def of_lag(lags: Sequence[Lag], cursors: Mapping[int, Cursor]) -> Iterator[Finding]:
    """Judge how far the partitions are, where none needs mending."""
    new = [str(lag.partition) for lag in lags if lag.partition not in cursors]
    if new:
        found = f"no processor has been at partition {some(new)} yet"
        yield Finding(Level.WARN, "cursors", found, "start `waybill processor`: it begins at the log's start")
    else:
        yield Finding(Level.OK, "cursors", f"{len(lags)} partitions, each can go on where it is")
    began = {partition: cursor.began_at for partition, cursor in cursors.items() if cursor.began_at}
    recent = {lag.partition: began[lag.partition] for lag in lags if lag.log_start <= began.get(lag.partition, -1)}
    if recent:
        found = f"records were gone from the log before they could be applied: {some(_before(recent))}"
        yield Finding(Level.WARN, "lost records", found, "`waybill reconcile` asks the couriers what they said")
    unpublished = [str(lag.partition) for lag in lags if abs(lag.unpublished_seconds or 0) > WAITING.total_seconds()]
    if unpublished:
        found = f"stored outputs wait for long to be published, in partition {some(unpublished)}"
        mend = (
            "a processor's log says `claiming again` and what Kafka answers; `waybill topics check` says what drifted"
        )
        yield Finding(Level.FAIL, "outputs", found, mend)
    summed = total(lags)
    waiting = summed.oldest_seconds
    if waiting is not None and waiting > WAITING.total_seconds():
        found = f"{summed.behind} records wait, the oldest for {timedelta(seconds=round(waiting))}"
        mend = "`waybill lag` says where; a processor's log says `partition halted` and why, or it is missing or slow"
        yield Finding(Level.WARN, "lag", found, mend)
    else:
        yield Finding(Level.OK, "lag", f"{summed.behind} records wait")


def _before(offsets: Mapping[int, int]) -> list[str]:
    return [f"before {partition}:{offset}" for partition, offset in sorted(offsets.items())]
