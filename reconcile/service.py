"""`waybill reconcile`: once, or as a service until told to stop."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import stamina
import structlog
from aiokafka.errors import KafkaError

from reconcile.api import Api
from reconcile.asking import AskingContext, CourierLoop, Ended, Tell, ask_all, ask_one, together, until_stopped
from reconcile.drift import Watch
from reconcile.errors import AllRefusedError, AlreadyAskingError, ReconcileError
from reconcile.line import CourierClient, open_session
from reconcile.requests import answer_once, attend
from reconcile.store import LONG_AGO, AskSelection, DueShipment, Store, open_ledger
from reconcile.waiting import WINDOW
from runtime import lifecycle
from runtime.admin import admin_server
from runtime.appending import open_appender
from runtime.errors import UnreachableError
from runtime.metrics import ReconcileMetrics, new_registry
from runtime.migrations import MigrationError, require_current_schema
from runtime.postgres import DATABASE_ERRORS, Pool, open_pool
from runtime.settings import Settings
from schemas.couriers import COURIERS

CONNECTIONS: Final = 4
"""Database connections beside the one that holds the lock: each answer takes one for a millisecond."""

LONGEST_IDLE: Final = timedelta(seconds=30)
SHORTEST_IDLE: Final = timedelta(seconds=1)
"""How long nobody looks who is due, between rounds: a tenth of the time that makes a shipment so, within these."""

AWAY_SECONDS: Final = 5.0
"""How long to wait for a store that is away, or for another asker, before looking again."""

log = structlog.get_logger(__name__)


def selection_of(settings: Settings, couriers: tuple[str, ...]) -> AskSelection:
    """Say whom we ask about."""
    return AskSelection(couriers, settings.account, settings.reconcile_stale_after)


async def list_due(settings: Settings, couriers: tuple[str, ...]) -> AsyncIterator[DueShipment]:
    """Return who would be asked about, courier by courier."""
    async with _opened_pool(settings) as pool:
        store, now = Store(pool, selection_of(settings, couriers)), datetime.now(UTC)
        for courier in couriers:
            async for due in store.due(courier, now, LONG_AGO):
                yield due


async def ask_once(
    settings: Settings, couriers: tuple[str, ...], stop: asyncio.Event, tell: Tell, shipment_id: str | None = None
) -> Ended:
    """Ask about everybody who is due, or about one shipment, due or not.

    Raises:
        ReconcileError: another process is asking, or there is no such shipment of ours.
        UnreachableError: a store is away.

    """
    metrics = ReconcileMetrics(new_registry())
    async with _opened_pool(settings) as pool, _tools(settings, pool, couriers, metrics, stop) as tools:
        if shipment_id is None:
            async with _lanes(tools, couriers, once=True) as lanes:
                await until_stopped(answer_once(lanes, tools), stop)
                return await ask_all(lanes, tools, tell)
        due = await tools.store.one(shipment_id)
        if due is None or due.courier not in couriers:
            raise ReconcileError(f"{shipment_id} is not a shipment that a courier can be asked about")
        async with _lanes(tools, (due.courier,), once=True) as lanes:
            return await ask_one(lanes[0], due, tools)


def run(settings: Settings, couriers: tuple[str, ...]) -> int:
    """Ask until a signal. Return the exit code."""
    return lifecycle.run(lambda stop: serve(settings, couriers, stop))


async def serve(settings: Settings, couriers: tuple[str, ...], stop: asyncio.Event) -> None:
    """Ask, round after round, until `stop` is set.

    While a store is away, or another process asks, it waits.

    Raises:
        AllRefusedError: no courier accepts our credentials.
        SetupError: the admin port cannot be listened on.

    """
    registry = new_registry()
    metrics = ReconcileMetrics(registry)
    parts: dict[str, bool] = {"asking": False, **dict.fromkeys(couriers, True)}
    async with admin_server(settings.admin_host, settings.reconcile_admin_port, registry, lambda: parts) as port:
        log.info("reconcile started", couriers=list(couriers), rate=settings.reconcile_rate, admin_port=port)
        waiting_for: str | None = None
        while not stop.is_set():
            try:
                await _ask_on(settings, couriers, stop, metrics, parts)
            except (AlreadyAskingError, UnreachableError, MigrationError, KafkaError, *DATABASE_ERRORS) as error:
                reason = (str(error) or repr(error)).splitlines()[0]
                if parts["asking"] or reason != waiting_for:
                    log.warning("waiting", reason=reason)
                waiting_for = reason
                parts["asking"] = False
                await _pause(AWAY_SECONDS, stop)


async def _ask_on(
    settings: Settings,
    couriers: tuple[str, ...],
    stop: asyncio.Event,
    metrics: ReconcileMetrics,
    parts: dict[str, bool],
) -> None:
    """Ask round after round, and beside that what operators ask for, until a stop or a failure."""
    idle = min(LONGEST_IDLE, max(SHORTEST_IDLE, settings.reconcile_stale_after / 10)).total_seconds()
    async with AsyncExitStack() as opened:
        pool = await opened.enter_async_context(_opened_pool(settings))
        tools = await opened.enter_async_context(_tools(settings, pool, couriers, metrics, stop))
        lanes = await opened.enter_async_context(_lanes(tools, couriers, once=False))
        parts["asking"] = True

        async def rounds() -> None:
            watch = Watch(pool, metrics, datetime.now(UTC))
            while not stop.is_set():
                done = await ask_all(lanes, tools, lambda _: None)
                _tell_round(done, metrics)
                parts.update({lane.courier: lane.refused is None for lane in lanes})
                if all(lane.refused for lane in lanes):
                    raise AllRefusedError(f"no courier accepts our credentials: {done.given_up}")
                await watch.look(datetime.now(UTC))
                await _pause(idle, stop)

        await together(rounds(), until_stopped(attend(lanes, tools), stop))


def _tell_round(done: Ended, metrics: ReconcileMetrics) -> None:
    for courier, due in done.due.items():
        metrics.due.labels(courier).set(due)
    metrics.last_round.set_to_current_time()
    for courier, count in done.counts.items():
        if count.asked:
            log.info(
                "couriers asked", courier=courier, **{name: getattr(count, name) for name in count.__struct_fields__}
            )


@asynccontextmanager
async def _opened_pool(settings: Settings) -> AsyncIterator[Pool]:
    async with await open_pool(settings, "reconcile", CONNECTIONS) as pool:
        async with pool.acquire() as connection:
            await require_current_schema(connection)
        yield pool


@asynccontextmanager
async def _tools(
    settings: Settings, pool: Pool, couriers: tuple[str, ...], metrics: ReconcileMetrics, stop: asyncio.Event
) -> AsyncIterator[AskingContext]:
    stamina.instrumentation.set_on_retry_hooks([])  # what an ask came to is logged once, at its end
    store = Store(pool, selection_of(settings, couriers))
    async with (
        open_ledger(settings, settings.reconcile_stale_after) as ledger,
        open_appender(settings, "reconcile") as appender,
    ):
        yield AskingContext(settings, store, ledger, appender, metrics, stop)


@asynccontextmanager
async def _lanes(tools: AskingContext, couriers: tuple[str, ...], *, once: bool) -> AsyncIterator[list[CourierLoop]]:
    settings = tools.settings
    quiet_until = time.monotonic() + WINDOW  # another process may have asked just now, and been killed
    async with open_session() as session:
        lanes = []
        for courier in couriers:
            line = CourierClient(
                session,
                courier,
                settings.reconcile_rate,
                settings.ingest_max_body_bytes,
                tools.stop,
                once=once,
                not_before=quiet_until,
            )
            tracking = COURIERS[courier].tracking
            assert tracking is not None, "a courier that cannot be asked is not chosen"
            lanes.append(CourierLoop(courier, Api(tracking, settings, line), line, tools))
        yield lanes


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
