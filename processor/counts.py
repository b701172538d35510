"""Counts in PostgreSQL what waits for people: open dead letters, open anomalies, shipments that fell silent.

The process to which partition 0 is assigned counts, and no other: the consumer group sees to it that there is one, and
gives the partition to another when it goes, so neither a lock nor a setting is needed, and ten processors ask no more
than one. It counts over a connection of its own that only reads, so that no batch waits for a connection, a row or a
statement of it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from time import monotonic, time
from typing import Any, Final, Never

import msgspec
import structlog

from processor.core.anomaly_states import AnomalyState
from processor.core.errors import StoredRowError
from processor.group import Group
from processor.partition.shared import Shared
from processor.storage.anomaly_states import read_anomaly, states_of
from processor.storage.open_letters import count_open_letters
from runtime.errors import SetupError
from runtime.postgres import COUNTING, DATABASE_ERRORS, Connections, open_pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.events import Anomaly

PARTITION: Final = 0
"""Whoever works on it counts: every raw topic has it."""

COUNT_EVERY_SECONDS: Final = 60.0
"""How often: the alerts on it wait for a quarter of an hour."""

LOOK_SECONDS: Final = 1.0
"""How often it is looked whether the partition is ours: a process that has just got it counts at once."""

LETTERS: Final = 2_000
"""The newest dead letters, which are looked at: more than anybody decides about one by one."""

ANOMALIES: Final = 500
"""The newest anomalies, which are looked at. How each stands follows from its shipment, which is folded for it: so many
usual ones take a quarter of a second, ten milliseconds at a time."""

SHIPMENTS: Final = 50_000
"""Silent shipments that are counted, those that fell silent last: some tens of milliseconds of PostgreSQL."""

PIECE: Final = 10
PIECE_BYTES: Final = 4 * 1024 * 1024
"""Anomalies judged before the batches have their turn again, and how much of their shipments is loaded at once."""

JUDGE_SECONDS: Final = 2.0
"""How long anomalies are judged: shipments with long histories take most. The rest, the oldest, is left out."""

_Q: Final = load_queries("processor", "counts.sql")

log = structlog.get_logger(__name__)


class Counts(msgspec.Struct, frozen=True):
    """What waits for people: dead letters by reason, anomalies by kind, shipments by courier."""

    dead_letters: Mapping[str, int]
    anomalies: Mapping[str, int]
    silent: Mapping[str, int]


async def watch(shared: Shared, group: Group) -> Never:
    """Count again and again while the partition is ours and the stores answer, until cancelled."""

    def is_ours() -> bool:
        return any(worker.standing.partition == PARTITION for worker in group.workers)

    await keep_counting(shared, is_ours, lambda: counted(shared.settings))


async def keep_counting(shared: Shared, is_ours: Callable[[], bool], count: Callable[[], Awaitable[Counts]]) -> Never:
    """Show what `count` finds while `is_ours`; zeros while it is not. What fails is told once for each reason."""
    due, said = 0.0, ""
    while True:
        if not is_ours():
            if due:
                shared.metrics.show_nothing_counted()
            due = 0.0
        elif monotonic() >= due and shared.stores_work():
            try:
                found = await count()
            except Exception as error:
                if repr(error) != said and isinstance(error, (SetupError, *DATABASE_ERRORS)):
                    log.warning("not counted", why=(str(error) or repr(error)).splitlines()[0])
                elif repr(error) != said:
                    log.exception("not counted")
                said = repr(error)
            else:
                said = ""
                shared.metrics.show_counted(found.dead_letters, found.anomalies, found.silent, time())
            due = monotonic() + COUNT_EVERY_SECONDS
        await asyncio.sleep(LOOK_SECONDS)


async def counted(settings: Settings) -> Counts:
    """Count, over a connection opened for it.

    Raises:
        SetupError: the database cannot be used.
        asyncpg.PostgresError and others of `DATABASE_ERRORS`: it does not answer in time.

    """
    async with await open_pool(settings, COUNTING, 1) as pool:
        return Counts(
            await open_dead_letters(pool),
            await open_anomalies(pool),
            await silent_shipments(pool, settings.reconcile_stale_after),
        )


async def open_dead_letters(pool: Connections) -> Counter[str]:
    """Count those of the newest dead letters about which nobody has decided, one for each root, by reason."""
    found: Counter[str] = Counter()
    for (reason, _), letters in (await count_open_letters(pool, LETTERS)).items():
        found[reason] += letters
    return found


async def open_anomalies(pool: Connections) -> Counter[str]:
    """Count those of the newest anomalies that are open, by kind. One that cannot be read or judged is, too."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["newest_anomalies"], ANOMALIES)
    found: Counter[str] = Counter()
    end = monotonic() + JUDGE_SECONDS
    for start in range(0, len(rows), PIECE):
        found += await _open_of(pool, rows[start : start + PIECE])
        if monotonic() > end:
            break
    return found


async def _open_of(pool: Connections, rows: Sequence[Any]) -> Counter[str]:
    """Judge a piece; where something of it cannot be read, each of it alone."""
    try:
        anomalies: list[Anomaly] = [read_anomaly(row) for row in rows]
        states = await states_of(pool, anomalies, PIECE_BYTES)
    except StoredRowError:
        if len(rows) == 1:
            return Counter(filter(None, [rows[0]["anomaly_kind"]]))
        return sum([await _open_of(pool, [row]) for row in rows], Counter())
    return Counter(anomaly.kind for anomaly in anomalies if states[anomaly.id][0] is AnomalyState.OPEN)


async def silent_shipments(pool: Connections, stale_after: timedelta) -> dict[str, int]:
    """Count the shipments under way without an event for so long and up to an hour more, by courier."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["silent_by_courier"], stale_after, SHIPMENTS)
    return {row["courier"]: row["shipments"] for row in rows}
