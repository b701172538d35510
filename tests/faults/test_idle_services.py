"""What whoever waits for Kafka costs: nearly nothing, with the brokers away, with the topics deleted, with both."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import psutil

from devstack.ports import HOST, free_ports
from runtime.kafka import admin_client
from schemas.topics import Topic
from tests import forking
from tests.faults.proxy import proxies, through
from tests.integration.system import dash, lives, open_system
from tests.waiting import DEADLINE, until

SETTLE_SECONDS: Final = 2.0
MEASURED_SECONDS: Final = 3.0
MOST: Final = 0.25
"""Of a core. What spins takes all it can get."""

LINES: Final = 60
"""In a log, at the end of it all: conditions, not attempts."""


class Waiting:
    """A command that runs in a process of its own."""

    def __init__(self, arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> None:
        self._arguments = arguments
        self._environ = environ
        self._log = log
        self.process: forking.Started | None = None

    async def start(self) -> None:
        with self._log.open("wb") as log:
            self.process = await forking.start(
                "cli.main", *self._arguments, environ=self._environ, stdout=log, stderr=log
            )

    @property
    def said(self) -> str:
        return self._log.read_text()

    @property
    def seconds(self) -> float | None:
        """The processor time it has had; nothing once it has ended."""
        assert self.process is not None
        if self.process.returncode is not None:
            return None
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system


@asynccontextmanager
async def _killed_afterwards(waiting: Mapping[str, Waiting]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for each in waiting.values():
            if each.process is not None:
                if each.process.returncode is None:
                    each.process.kill()
                await each.process.wait()


async def _costs(waiting: Mapping[str, Waiting]) -> dict[str, float]:
    """Measure what share of a core each takes that still runs."""
    await asyncio.sleep(SETTLE_SECONDS)
    before = {name: each.seconds for name, each in waiting.items()}
    await asyncio.sleep(MEASURED_SECONDS)
    after = {name: each.seconds for name, each in waiting.items()}
    return {
        name: (now - then) / MEASURED_SECONDS
        for name, then in before.items()
        if then is not None and (now := after[name]) is not None
    }


async def test_who_waits_for_kafka_costs_next_to_nothing(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    door, *admins = map(str, free_ports(4))
    async with proxies(kafka_bootstrap_servers, database_url, 0) as (kafka, postgres):
        environ = {
            **through(system.environ, kafka, postgres),
            "WAYBILL_DASH_SECRETS": "hush",
            "WAYBILL_DASH_API_URL": "http://127.0.0.1:1",
            "WAYBILL_DASH_CLIENT_KEY": "key",
            "WAYBILL_DASH_CLIENT_SECRET": "secret",
            "WAYBILL_INGEST_PORT": door,
            "WAYBILL_INGEST_ADMIN_PORT": admins[0],
            "WAYBILL_PROCESSOR_ADMIN_PORT": admins[1],
            "WAYBILL_RECONCILE_ADMIN_PORT": admins[2],
            "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"),
            "WAYBILL_LOG_FORMAT": "json",
        }
        commands = {
            "ingest": ["ingest"],
            "processor": ["processor"],
            "reconcile": ["reconcile"],
            "tail": ["tail", "--since", "earliest"],
        }
        waiting = {name: Waiting(command, environ, tmp_path / f"{name}.log") for name, command in commands.items()}
        async with _killed_afterwards(waiting):
            for each in waiting.values():
                await each.start()
            await system.append(lives(1))

            async def all_work() -> bool:
                return await _takes(door) and "DE-0" in waiting["tail"].said and "started" in waiting["reconcile"].said

            await until(all_work)
            await until(system.caught_up)

            kafka.away()
            costs = {"away": await _costs(waiting)}
            assert "waybill: waiting: Kafka" in await _said(waiting["tail"], "waiting")
            kafka.back()
            await _said(waiting["tail"], "is back")
            async with admin_client(system.settings) as admin:
                await admin.delete_topics([system.settings.topic(topic) for topic in Topic])
            costs["deleted"] = await _costs(waiting)
            tail = waiting["tail"].process
            assert tail is not None
            assert await asyncio.wait_for(tail.wait(), DEADLINE) == 1
            assert "shipment.events is missing" in waiting["tail"].said
            kafka.away()
            costs["both"] = await _costs(waiting)
        assert [len(each) for each in costs.values()] == [4, 4, 3] or len(costs["deleted"]) == 3
        assert {(how, name): cost for how, of in costs.items() for name, cost in of.items() if cost > MOST} == {}
        assert {name: each.said for name, each in waiting.items() if each.said.count("\n") > LINES} == {}


async def _takes(door: str) -> bool:
    """Whether the door takes a webhook."""
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://{HOST}:{door}/webhooks/dash",
                data=dash("DOOR", "PREPARING", 0),
                headers={"X-Dash-Secret": "hush"},
            ) as answer,
        ):
            return answer.status == 200
    except aiohttp.ClientConnectionError:
        return False


async def _said(waiting: Waiting, word: str) -> str:
    async def heard() -> bool:
        return word in waiting.said

    await until(heard)
    return waiting.said
