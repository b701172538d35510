"""`waybill console`: the pages, until told to stop."""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog
from aiohttp import web

from console.access import contradictions
from console.app import CODES, ROUTES, Console
from console.database import Database, opened_database
from console.jobs import working
from console.looks import Look
from console.page import Context, Looks
from console.plans import Plans
from console.tail import Tail
from operators.dead_letters.stored_letters import count_open
from operators.decisions.anomalies import (
    MOST_LOOKED_AT,
    THE_NEWEST,
    Standing,
    Wanted,
    page_of,
)
from operators.doctor.cursors import Halted
from operators.doctor.examine import examine
from operators.doctor.finding import Finding
from operators.views.drift import Drift, drift
from operators.views.flow import Flow, flow
from operators.views.lag import find_lag
from runtime import lifecycle
from runtime.admin import admin_routes, listen
from runtime.errors import SettingsError
from runtime.metrics import ConsoleMetrics, new_registry
from runtime.settings import Settings
from schemas.couriers import COURIERS

SHUTDOWN_SECONDS: Final = 4.0
"""How long answers in the making may take at a stop. The drain has 8 s for everything."""

DRIFT_SPAN: Final = timedelta(hours=24)
"""Over how long drift is told, as `waybill reconcile report` does."""

SOON: Final = timedelta(seconds=15)
"""How old findings, lag and open anomalies may be: they are asked for again by a page that is open, every 20 s."""

A_WHILE: Final = timedelta(seconds=30)
"""How old the flow may be: it is of hours, in stretches of five minutes."""

LATER: Final = timedelta(minutes=5)
"""How old drift may be: reading a day takes seconds."""

LIMIT: Final = timedelta(seconds=30)
"""How long one look may take: a store that is away is waited for some ten seconds, a day is read within 28."""

log = structlog.get_logger(__name__)


def run(settings: Settings, halted: Halted) -> int:
    """Serve until SIGTERM and return the exit code. `halted` is asked which partitions need a recovery.

    Raises:
        SettingsError: the settings would let in whom they should not.

    """
    if wrong := contradictions(settings):
        raise SettingsError(tuple(wrong))
    return lifecycle.run(partial(serve, settings, halted))


async def serve(settings: Settings, halted: Halted, stop: asyncio.Event) -> None:
    """Serve until `stop` is set.

    Raises:
        SetupError: the port cannot be listened on.

    """
    registry = new_registry()
    metrics = ConsoleMetrics(registry)
    metrics.begin(ROUTES, CODES)
    key = (settings.console_session_key or secrets.token_urlsafe(48)).encode()
    async with AsyncExitStack() as opened:
        database = await opened.enter_async_context(opened_database(settings))
        plans = Plans(settings, lambda: database.pool)
        opened.push_async_callback(plans.close)
        context = Context(settings, database, looks(settings, database, halted), Tail(settings), plans)
        opened.push_async_callback(context.looks.close)
        console = Console(context, metrics, key)
        app = console.application(admin_routes(registry, lambda: {"postgres": database.up}))
        await opened.enter_async_context(working(settings, database))
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handle_signals=False)
        await runner.setup()
        opened.push_async_callback(runner.cleanup)
        port = await listen(runner, settings.console_host, settings.console_port)
        log.info("console ready", host=settings.console_host, port=port, access=settings.console_access)
        await stop.wait()


def looks(settings: Settings, database: Database, halted: Halted) -> Looks:
    """Make the looks that take seconds."""

    async def findings() -> list[Finding]:
        return [finding async for finding in examine(settings, halted, here=False, acts=settings.console_writes)]

    async def letters() -> dict[tuple[str, str], int]:
        return await count_open(database.pool)

    async def anomalies() -> tuple[Sequence[Standing], bool]:
        found = await page_of(database.pool, Wanted(), THE_NEWEST, MOST_LOOKED_AT, only_open=True)
        return found.standing, found.behind is not None

    async def drifted() -> Drift:
        now = datetime.now(UTC)
        return await drift(database.pool, list(COURIERS), now - DRIFT_SPAN, now)

    async def flowing() -> Flow:
        return await flow(database.pool, datetime.now(UTC))

    return Looks(
        Look(findings, SOON, LIMIT),
        Look(partial(halted, settings), SOON, LIMIT),
        Look(partial(find_lag, settings), SOON, LIMIT),
        Look(letters, SOON, LIMIT),
        Look(anomalies, SOON, LIMIT),
        Look(drifted, LATER, LIMIT),
        Look(flowing, A_WHILE, LIMIT),
    )
