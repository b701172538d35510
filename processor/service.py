"""The processor as a service: clients, group, admin port, orderly stop."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog

from processor import backlog, counts
from processor.core.cursor import Stream
from processor.group import Group
from processor.health import Condition, Health
from processor.partition.shared import Shared
from processor.pauses import pause
from processor.protocol.crash_points import Reached, no_one
from processor.storage.cursors import Cursors
from processor.storage.store import Store
from runtime import kafka, kafka_admin, kafka_denials, lifecycle, postgres
from runtime.admin import admin_server
from runtime.errors import DeniedError, UnreachableError
from runtime.kafka import KAFKA_ERRORS
from runtime.kafka_asking import Admin
from runtime.metrics import ProcessorMetrics, StoreName, new_registry
from runtime.migrations import MigrationError, require_current_schema
from runtime.postgres import DATABASE_ERRORS, open_pool
from runtime.settings import Settings
from runtime.tracing import spans_of
from schemas.topics import Topic

if TYPE_CHECKING:
    from runtime.spans import Spans

CONNECTIONS: Final = 10
"""Database connections of one processor: batches of that many partitions are written side by side."""

SETTLED_SECONDS: Final = 60.0
"""What fails after so long is a new condition: told again, and tried again soon. Opening gives up within 30 s."""

LEAVE_SECONDS: Final = 1.0
"""How long the consumer may take to leave the group: behind the workers' end, within the lifecycle's 8 s."""

NEW_CONTAINERS: Final = 50_000
"""How many containers more than before make the garbage collector look for circles. By Python's 700 it looks several
times a batch, whose thousands of containers refer to nothing that refers to them."""

DENIALS: Final = (DeniedError, *kafka_denials.DENIALS, *postgres.DENIALS)
"""What is told even where something else was waited for before."""

log = structlog.get_logger(__name__)

Result = TypeVar("Result")


def run(settings: Settings) -> int:
    """Run until a signal. Return the exit code.

    Raises:
        SettingsError: webhooks are to be traced, and cannot be.

    """
    with spans_of(settings, "waybill-processor") as spans:
        gc.freeze()
        gc.set_threshold(NEW_CONTAINERS)
        return lifecycle.run(lambda stop: serve(settings, stop, spans=spans))


async def serve(
    settings: Settings, stop: asyncio.Event, reached: Reached = no_one, spans: "Spans | None" = None
) -> None:
    """Process until `stop` is set. `reached` hears of every step, `spans` makes those of traced webhooks.

    While Kafka, PostgreSQL or the topic is away, at the start or later, it waits for them.
    """
    registry = new_registry()
    metrics = ProcessorMetrics(registry)
    health = Health(metrics)
    groups: list[Group] = []

    def readiness() -> Mapping[str, bool]:
        workers = [worker for group in groups for worker in group.workers]
        return {
            **health.parts,
            "assigned": bool(workers),
            "claimed": all(worker.standing.ready or worker.standing.halted for worker in workers),
            "running": not any(worker.standing.halted for worker in workers),
        }

    async with admin_server(settings.admin_host, settings.processor_admin_port, registry, readiness) as port:
        log.info("processor started", topic=settings.topic(Topic.RAW), group=settings.group_id, admin_port=port)
        attempt, denied = 0, False
        while not stop.is_set():
            began = monotonic()
            try:
                async with AsyncExitStack() as opened:
                    opening = opened.enter_async_context(_opened(settings, metrics, health, reached, spans))
                    if (found := await _unless(stop, opening)) is not None:
                        await _process(*found, groups, stop)
            except (UnreachableError, MigrationError, *KAFKA_ERRORS, *DATABASE_ERRORS) as error:
                attempt = attempt + 1 if monotonic() - began < SETTLED_SECONDS else 1
                was_denied, denied = denied, isinstance(error, DENIALS)
                if attempt == 1 or denied != was_denied:
                    log.warning("waiting", reason=str(error) or repr(error))
                await pause(attempt, stop)


async def _process(shared: Shared, watching: asyncio.Task[None], groups: list[Group], stop: asyncio.Event) -> None:
    """Work in the group until `stop`, or until the consumer, a watch or a worker ends by itself."""
    group = Group(shared)
    groups.append(group)
    shared.consumer.subscribe([shared.stream.raw_topic], listener=group)
    shared.metrics.raw_partitions.set(shared.stream.partitions)
    shared.metrics.assigned_partitions.set_function(lambda: len(group.workers))
    looking = asyncio.create_task(backlog.watch(shared, group))
    counting = asyncio.create_task(counts.watch(shared, group))
    try:
        if await _unless(stop, _started(shared)) is None:
            return
        ends: list[asyncio.Future[Any]] = [
            group.failed,
            watching,
            looking,
            counting,
            *kafka.background(shared.consumer),
        ]
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((stopping, *ends), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if group.failed.done():
            group.failed.result()
        if not stop.is_set():
            raise UnreachableError(f"the consumer or a watch has ended by itself: {_why_ended(ends)}")
    finally:
        await asyncio.gather(_end(looking), _end(counting))
        await group.stop()
        groups.remove(group)


def _why_ended(ends: Iterable[asyncio.Future[Any]]) -> str:
    errors = [error for end in ends if end.done() and not end.cancelled() and (error := end.exception())]
    return "; ".join(map(str, errors)) or "nothing was said"


async def _started(shared: Shared) -> bool:
    await kafka.start(shared.consumer)
    return True


async def _unless(stop: asyncio.Event, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do this work, or give it up when `stop` is set."""
    task, stopping = asyncio.create_task(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((task, stopping), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        stopping.cancel()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _opened(
    settings: Settings, metrics: ProcessorMetrics, health: Health, reached: Reached, spans: "Spans | None" = None
) -> AsyncIterator[tuple[Shared, asyncio.Task[None]]]:
    """Open both stores, and watch them from then on. Whichever is away is named in `health`."""
    async with AsyncExitStack() as opened:
        admin = await _noted(health, StoreName.KAFKA, opened.enter_async_context(kafka.admin_client(settings)))
        stream = await _stream(settings, admin, health)
        pool = await _noted(health, StoreName.POSTGRES, open_pool(settings, "processor", CONNECTIONS))
        opened.push_async_callback(pool.close)
        async with pool.acquire() as connection:
            await require_current_schema(connection)
        health.saw(StoreName.POSTGRES, Condition.WORKS)
        watching = asyncio.create_task(health.watch(settings, admin, stream.raw_topic, pool))
        opened.push_async_callback(_end, watching)
        consumer = kafka.new_group_consumer(settings, "waybill-processor")
        opened.push_async_callback(kafka.stop, consumer, LEAVE_SECONDS)
        cursors, store = Cursors(settings, pool), Store(pool, reached)
        shared = Shared(settings, stream, consumer, admin, cursors, store, metrics, reached, health.all_work, spans)
        yield shared, watching


async def _noted(health: Health, store: StoreName, opening: Awaitable[Result]) -> Result:
    try:
        return await opening
    except UnreachableError as error:
        health.saw(store, Condition.CLOSED if isinstance(error, DeniedError) else Condition.AWAY, str(error))
        raise


async def _stream(settings: Settings, admin: Admin, health: Health) -> Stream:
    raw_topic = settings.topic(Topic.RAW)
    found = await kafka_admin.find_topics(admin, [raw_topic], [])
    if raw_topic not in found:
        why = f"topic {raw_topic} is missing, or our user may not see it: `waybill topics apply` makes it"
        health.saw(StoreName.KAFKA, Condition.TOPICLESS, why)
        raise UnreachableError(why)
    health.saw(StoreName.KAFKA, Condition.WORKS)
    return Stream(raw_topic, found[raw_topic].partitions, settings.group_id)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait((task,), timeout=LEAVE_SECONDS)
