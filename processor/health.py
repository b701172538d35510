"""Whether the stores answer, as a process last saw it. Each change is said once."""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, Final, Never

import structlog
from aiokafka.errors import TopicAuthorizationFailedError

from processor.storage.commits import ANSWER_SECONDS, commits, standbys_waited_for
from runtime.errors import DeniedError, SetupError
from runtime.kafka import KAFKA_ERRORS
from runtime.kafka_asking import Admin
from runtime.metrics import ProcessorMetrics, StoreName
from runtime.postgres import DATABASE_ERRORS, Connection, Pool, connect
from runtime.settings import Settings

ASK_EVERY_SECONDS: Final = 1.0
"""How often each store is asked: a change is seen in `/readyz` and the metrics within this time and the answer's."""

STALLED_SECONDS: Final = 2.0
"""How long one of our commits may wait for a standby before all are said to: one that is there takes milliseconds."""

log = structlog.get_logger(__name__)


class Condition(StrEnum):
    """How a store was last seen."""

    WORKS = "back"
    AWAY = "away"
    CLOSED = "closed to us"
    READ_ONLY = "read-only"
    STALLED = "without its standby"
    """Commits wait for a synchronous standby."""
    LEADERLESS = "without a leader"
    TOPICLESS = "without the topic"
    UNCLEAR = "not understood"
    """Asking it has failed in a way that nobody foresaw."""


class Health:
    """Keeps what was last seen of each store."""

    def __init__(self, metrics: ProcessorMetrics) -> None:
        """Begin without having seen either."""
        self._metrics = metrics
        self._seen: dict[StoreName, Condition] = {}

    @property
    def parts(self) -> dict[str, bool]:
        """Of each store that was seen, whether it works."""
        return {store: condition is Condition.WORKS for store, condition in self._seen.items()}

    def all_work(self) -> bool:
        """Whether both stores work, as far as is known."""
        return all(condition is Condition.WORKS for condition in self._seen.values())

    def saw(self, store: StoreName, condition: Condition, why: str = "") -> None:
        """Take note of a store's condition. The first time that it works is nothing to tell."""
        before = self._seen.get(store)
        self._seen[store] = condition
        self._metrics.store_up.labels(store).set(condition is Condition.WORKS)
        if condition is before:
            return
        event = f"store {condition}"
        if condition is not Condition.WORKS:
            log.warning(event, store=store, why=why)
        elif before is not None:
            log.info(event, store=store)

    async def watch(self, settings: Settings, admin: Admin, topic: str, pool: Pool) -> None:
        """Ask both stores again and again until cancelled: Kafka for the topic, PostgreSQL whether it can write.

        When PostgreSQL is back, the pool's connections are made anew.
        """
        await asyncio.gather(
            self._keep_on(StoreName.KAFKA, lambda: self._watch_kafka(admin, topic)),
            self._keep_on(StoreName.POSTGRES, lambda: self._watch_postgres(settings, pool)),
        )

    async def _keep_on(self, store: StoreName, watch: Callable[[], Awaitable[Never]]) -> Never:
        """Begin anew whatever ends a watch: without it a store's return would go unseen."""
        while True:
            try:
                await watch()
            except Exception as error:  # noqa: BLE001 - nothing may end it unseen
                self.saw(store, Condition.UNCLEAR, _words(error))
            await asyncio.sleep(ASK_EVERY_SECONDS)

    async def _watch_kafka(self, admin: Admin, topic: str) -> Never:
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    (found,) = await admin.describe_topics([topic])
                self.saw(StoreName.KAFKA, _condition(found), topic)
            except KAFKA_ERRORS as error:
                self.saw(StoreName.KAFKA, Condition.AWAY, _words(error))
            await asyncio.sleep(ASK_EVERY_SECONDS)

    async def _watch_postgres(self, settings: Settings, pool: Pool) -> Never:
        """Ask on a connection of our own: those of the pool may all be busy."""
        while True:
            try:
                connection = await connect(settings, "processor-health")
                try:
                    await self._watch_session(connection, pool)
                finally:
                    connection.terminate()
            except (SetupError, *DATABASE_ERRORS) as error:
                closed = isinstance(error, DeniedError)
                self.saw(StoreName.POSTGRES, Condition.CLOSED if closed else Condition.AWAY, _words(error))
            await asyncio.sleep(ASK_EVERY_SECONDS)

    async def _watch_session(self, connection: Connection, pool: Pool) -> None:
        """Ask until it is read-only: a session may stay so when the database no longer is."""
        while True:
            async with asyncio.timeout(ANSWER_SECONDS):
                if await connection.fetchval("show transaction_read_only") == "on":
                    self.saw(StoreName.POSTGRES, Condition.READ_ONLY)
                    return
                standbys = await standbys_waited_for(connection, STALLED_SECONDS)
            if standbys is not None:
                why = f"commits wait for a standby: synchronous_standby_names = {standbys}"
                self.saw(StoreName.POSTGRES, Condition.STALLED, why)
            if self._seen.get(StoreName.POSTGRES) is not Condition.STALLED or await commits(connection):
                if self._seen.get(StoreName.POSTGRES) is not Condition.WORKS:
                    await pool.expire_connections()
                self.saw(StoreName.POSTGRES, Condition.WORKS)
            await asyncio.sleep(ASK_EVERY_SECONDS)


def _condition(topic: Any) -> Condition:
    if topic["error_code"]:
        forbidden = topic["error_code"] == TopicAuthorizationFailedError.errno
        return Condition.CLOSED if forbidden else Condition.TOPICLESS
    leaders = [part["leader"] for part in topic["partitions"]]
    return Condition.WORKS if min(leaders) >= 0 else Condition.LEADERLESS


def _words(error: BaseException) -> str:
    return (str(error) or repr(error)).splitlines()[0]
