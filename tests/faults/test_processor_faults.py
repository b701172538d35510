"""The processor when a store is away, slow, full or of two minds: it waits, says so once, and goes on by itself."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex
from time import monotonic
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import msgspec
import pytest

from devstack import Stack
from devstack.ports import HOST, free_ports
from runtime import kafka, migrations, topics
from tests.faults.proxy import Proxy, Trap, commit, end_txn, proxies, through
from tests.faults.services import Service
from tests.integration.system import System, assert_exactly_once, lives, open_system
from tests.waiting import until

AT_ONCE: Final = 6
ATTEMPTS: Final = 5
"""Connections tried in vain before a store comes back: enough to see that they are not told one by one."""

STOP_SECONDS: Final = 10.0
LOCK_WAITERS: Final = (
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
)


class Case:
    """One system with a processor of its own, which reaches both stores through proxies only."""

    def __init__(self, system: System, proxies: tuple[Proxy, Proxy], operator_url: str, log: Path) -> None:
        (port,) = free_ports(1)
        self.system = system
        self.kafka, self.postgres = proxies
        self.operator_url = operator_url
        """The case's database, as the server's superuser."""
        environ = {
            **through(system.environ, self.kafka, self.postgres),
            "WAYBILL_PROCESSOR_ADMIN_PORT": str(port),
            "WAYBILL_LOG_FORMAT": "json",
        }
        self.processor = Service("processor", environ, log)
        self._admin = f"http://{HOST}:{port}"
        self._appended = 0

    @property
    def role(self) -> str:
        """The role that the processor logs in as."""
        return urlsplit(self.system.settings.database_url).username or ""

    async def append(self) -> None:
        """Append the webhooks of ten more parcels."""
        self._appended += 1
        await self.system.append(lives(10, f"P{self._appended}"))

    async def works(self) -> None:
        """Append and wait until all is applied and published; everything once."""
        await self.append()
        await until(self.system.caught_up)
        await assert_exactly_once(self.system)
        await until(partial(self.is_ready, True))

    async def is_ready(self, expected: bool, **parts: bool) -> bool:
        """Whether `/readyz` says so, and says so of these parts."""
        status, found = await self.readiness()
        return status == (200 if expected else 503) and all(found.get(part) is said for part, said in parts.items())

    async def readiness(self) -> tuple[int, Mapping[str, bool]]:
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{self._admin}/readyz") as response:
                return response.status, (await response.json())["parts"]
        except aiohttp.ClientConnectionError:
            return 0, {}

    async def metrics(self) -> str:
        async with aiohttp.ClientSession() as session, session.get(f"{self._admin}/metrics") as response:
            return await response.text()

    async def operator(self, statement: str) -> None:
        """Change the server as its operator."""
        connection = await asyncpg.connect(self.operator_url, server_settings={"default_transaction_read_only": "off"})
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def said(self, event: str, **fields: Any) -> int:
        """Count the log's lines of an event."""
        lines = [msgspec.json.decode(line) for line in self.processor.log().splitlines()]
        return sum(line["event"] == event and fields.items() <= line.items() for line in lines)

    async def tried_in_vain(self, store: Proxy) -> None:
        """Wait until some more connections were tried."""
        before = store.connections

        async def tried() -> bool:
            return store.connections >= before + ATTEMPTS

        await until(tried)

    def assert_quiet(self, lines: int) -> None:
        """The log holds no more lines than that: conditions, not attempts."""
        log = self.processor.log()
        assert log.count("\n") <= lines, log


OpenCase = Callable[[], Any]


@pytest.fixture
def open_case(stack: Stack, topic_prefix: str, tmp_path: Path) -> OpenCase:
    number = iter(range(100))

    @asynccontextmanager
    async def opened() -> AsyncIterator[Case]:
        name = f"case_{token_hex(6)}"
        place = next(number)
        server = await asyncpg.connect(stack.database_url)
        address = urlsplit(stack.database_url)
        try:
            await server.execute(f"create role {name} login password '{name}'")
            await server.execute(f"create database {name} owner {name}")
            operator_url = address._replace(path=f"/{name}").geturl()
            netloc = f"{name}:{name}@{address.hostname}:{address.port or 5432}"
            url = address._replace(netloc=netloc, path=f"/{name}").geturl()
            system = await open_system(stack.kafka_bootstrap_servers, url, f"{topic_prefix}{place}.")
            async with proxies(stack.kafka_bootstrap_servers, url, place) as both:
                case = Case(system, both, operator_url, tmp_path / f"{place}.log")
                try:
                    yield case
                except BaseException as error:
                    error.add_note(case.processor.log_tail())
                    raise
                finally:
                    if case.processor.process is not None:
                        if case.processor.frozen:
                            case.processor.wake()
                        await case.processor.kill()
        finally:
            await server.execute(f"drop database if exists {name} with (force)")
            await server.execute(f"drop role if exists {name}")
            await server.close()

    return opened


async def side_by_side(open_case: OpenCase, *tries: Callable[[Case], Awaitable[None]]) -> None:
    """Try several, each on a system of its own: most of the time goes into waiting."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(attempt: Callable[[Case], Awaitable[None]]) -> None:
        try:
            async with slots, open_case() as case:
                await attempt(case)
        except BaseException as error:
            error.add_note(f"in {attempt}")
            raise

    async with asyncio.TaskGroup() as group:
        for attempt in tries:
            group.create_task(one(attempt))


# ---- a store that is away ------------------------------------------------------------------------------------------


async def test_a_store_away_at_the_start_or_later_is_waited_for(open_case: OpenCase) -> None:
    await side_by_side(
        open_case,
        partial(_away_at_the_start, store="kafka"),
        partial(_away_at_the_start, store="postgres"),
        partial(_away_later, store="kafka"),
        partial(_away_later, store="postgres"),
        _topics_are_missing,
        _schema_is_missing,
    )


async def _away_at_the_start(case: Case, store: str) -> None:
    proxy: Proxy = getattr(case, store)
    proxy.away()
    await case.processor.start()
    await until(partial(case.is_ready, False, **{store: False}))
    await case.tried_in_vain(proxy)
    assert f'waybill_processor_store_up{{store="{store}"}} 0.0' in await case.metrics()
    assert case.said("waiting") == 1
    case.assert_quiet(6)
    proxy.back()
    await case.works()
    assert case.said("store back", store=store) == 1
    assert await case.processor.stop() == 0


async def _away_later(case: Case, store: str) -> None:
    proxy: Proxy = getattr(case, store)
    other = "postgres" if store == "kafka" else "kafka"
    await case.processor.start()
    await case.works()
    proxy.away()
    await until(partial(case.is_ready, False, **{store: False, other: True}))
    await case.append()
    await case.tried_in_vain(proxy)
    assert case.said("store away", store=store) == 1
    proxy.back()
    await case.works()
    assert case.said("store away") == case.said("store back") == 1
    assert f'waybill_processor_store_up{{store="{store}"}} 1.0' in await case.metrics()
    case.assert_quiet(30)
    assert await case.processor.stop() == 0


async def _topics_are_missing(case: Case) -> None:
    settings = case.system.settings
    async with kafka.admin_client(settings) as admin:
        await admin.delete_topics(
            [name for name in await admin.list_topics() if name.startswith(settings.topic_prefix)]
        )
    await case.processor.start()
    await until(partial(case.is_ready, False, kafka=False, assigned=False))
    await case.tried_in_vain(case.kafka)
    assert case.said("waiting") == case.said("store without the topic") == 1
    await topics.apply(settings)
    await case.works()


async def _schema_is_missing(case: Case) -> None:
    await case.system.execute("drop schema public cascade; create schema public")
    await case.processor.start()
    await until(partial(case.is_ready, False, assigned=False))
    await case.tried_in_vain(case.postgres)
    assert case.said("waiting") == 1
    await migrations.migrate(case.system.settings)
    await case.works()


# ---- commits of which nobody knows what became of them -------------------------------------------------------------


async def test_a_commit_of_unknown_outcome_is_looked_up_never_repeated(open_case: OpenCase) -> None:
    await side_by_side(
        open_case,
        *(partial(_trapped, store=store, trap=trap) for trap in Trap for store in ("kafka", "postgres")),
    )


async def _trapped(case: Case, store: str, trap: Trap) -> None:
    proxy: Proxy = getattr(case, store)
    await case.processor.start()
    await case.works()
    proxy.set_trap(end_txn if store == "kafka" else commit, trap)
    await case.append()
    async with asyncio.timeout(STOP_SECONDS):
        await proxy.sprung.wait()
    await case.works()
    if store == "postgres":  # an unanswered EndTxn is asked again by the same producer, under the same fence
        assert case.said("partition claimed") > case.said("partition claimed", reason="assigned")


# ---- what a store refuses ------------------------------------------------------------------------------------------


async def test_what_a_store_refuses_for_now_is_tried_again(open_case: OpenCase) -> None:
    await side_by_side(open_case, _fenced, _read_only, _out_of_connections, _locked, _failing)


async def _fenced(case: Case) -> None:
    """Another producer takes over the transactional id, as a zombie's would."""
    settings = case.system.settings
    await case.processor.start()
    await case.works()
    for partition in range(settings.topic_partitions):
        producer = kafka.new_transactional_producer(settings, settings.transactional_id(partition))
        await kafka.start(producer)
        await kafka.stop(producer)
    await case.works()
    assert case.said("partition claimed", reason="fenced") >= 1


async def _read_only(case: Case) -> None:
    await case.processor.start()
    await case.works()
    await case.operator(f"alter database {case.role} set default_transaction_read_only = on")
    case.postgres.cut_all()
    await until(partial(case.is_ready, False, postgres=False, kafka=True))
    await case.append()
    await until(partial(_said, case, "claiming again"))
    await until(partial(_said, case, "store read-only"))
    await case.operator(f"alter database {case.role} reset default_transaction_read_only")
    await case.works()
    case.assert_quiet(30)


async def _out_of_connections(case: Case) -> None:
    await case.processor.start()
    await case.works()
    await case.operator(f"alter role {case.role} connection limit 0")
    case.postgres.cut_all()
    await case.append()
    await until(partial(case.is_ready, False, postgres=False, kafka=True))
    await case.tried_in_vain(case.postgres)
    await case.operator(f"alter role {case.role} connection limit -1")
    await case.works()
    case.assert_quiet(30)


async def _locked(case: Case) -> None:
    """Somebody whose sessions are not ours to end holds the cursors."""
    await case.processor.start()
    await case.works()
    holder = await asyncpg.connect(case.operator_url)
    try:
        transaction = holder.transaction()
        await transaction.start()
        await holder.fetch("select * from cursors for update")
        await case.append()
        await until(partial(_waits_for_a_lock, case))
        case.postgres.cut_all()
        await until(partial(case.is_ready, False, claimed=False))
        await until(partial(_waits_for_a_lock, case))
        await transaction.rollback()
    finally:
        await holder.close()
    await case.works()
    case.assert_quiet(30)


async def _failing(case: Case) -> None:
    """The first batches meet a serialization failure, a deadlock, a full disk, no memory and a cancelled query."""
    await case.system.execute(
        """
        create sequence failures;
        create function fail() returns trigger language plpgsql as $$
        declare codes text[] := array['40001', '40P01', '53100', '53200', '57014'];
        declare number bigint := nextval('failures');
        begin
            if number <= array_length(codes, 1) then
                raise exception using errcode = codes[number], message = 'not now';
            end if;
            return null;
        end $$;
        create trigger fail before insert on observations for each statement execute function fail();
        """
    )
    await case.processor.start()
    await case.works()
    case.assert_quiet(30)
    assert not case.said("a record cannot be stored")


async def _said(case: Case, event: str) -> bool:
    return case.said(event) > 0


async def _waits_for_a_lock(case: Case) -> bool:
    connection = await asyncpg.connect(case.operator_url)
    try:
        return bool(await connection.fetchval(LOCK_WAITERS))
    finally:
        await connection.close()


# ---- leaving -------------------------------------------------------------------------------------------------------


async def test_sigterm_ends_it_in_time_whatever_does_not_answer(open_case: OpenCase) -> None:
    await side_by_side(
        open_case,
        *(
            partial(leave, stores=stores, how=how)
            for leave in (_leave_at_the_start, _leave_later)
            for stores in (("kafka",), ("postgres",), ("kafka", "postgres"))
            for how in ("away", "freeze")
        ),
    )


async def _leave_at_the_start(case: Case, stores: tuple[str, ...], how: str) -> None:
    broken: list[Proxy] = [getattr(case, store) for store in stores]
    for proxy in broken:
        getattr(proxy, how)()
    await case.processor.start()

    async def tried() -> bool:
        return broken[0].connections > 0

    await until(tried)
    await _leave(case)


async def _leave_later(case: Case, stores: tuple[str, ...], how: str) -> None:
    """Some partitions are in the middle of a batch, some in a claim."""
    await case.processor.start()
    await case.works()
    for store in stores:
        getattr(getattr(case, store), how)()
    await case.append()
    await until(partial(case.is_ready, False))
    await _leave(case)


async def _leave(case: Case) -> None:
    began = monotonic()
    assert await case.processor.stop() == 0
    assert monotonic() - began < STOP_SECONDS
