"""No client of a broker leaves a connection open, wherever its start or its stop is cut short."""

import asyncio
import gc
import math
import struct
import warnings
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import Any, Final, cast

import pytest
import uvloop
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionResponse_v0
from aiokafka.protocol.coordination import FindCoordinatorResponse_v1
from aiokafka.protocol.metadata import MetadataRequest, MetadataResponse_v0
from aiokafka.protocol.transaction import InitProducerIdResponse_v0

from runtime import kafka
from runtime.errors import UnreachableError
from runtime.settings import Settings, load_settings

HOST: Final = "127.0.0.1"
DEADLINE: Final = 10.0
PATIENCE: Final = 0.2
"""Seconds that a client's start may take from a silent broker, and its stop."""

MOST_ANSWERS: Final = 6
"""After so many answers every kind of client is started."""

MOST_POINTS: Final = 60
"""More points of waiting than any kind of client has between its start and its end."""

API_VERSIONS, METADATA, FIND_COORDINATOR, INIT_PRODUCER_ID = 18, 3, 10, 22
TOPIC: Final = "raw"


class ScriptedBroker:
    """Speaks as much of Kafka's protocol as a client's start needs, and falls silent after some answers."""

    def __init__(self, answers: float = math.inf) -> None:
        self.answers = answers
        self.port = 0
        self.opened = 0
        self.open: set[asyncio.BaseTransport] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Settings]:
        server = await asyncio.get_running_loop().create_server(lambda: _Conversation(self), HOST)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield load_settings({"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"{HOST}:{self.port}"})
            await self.all_closed()

    async def all_closed(self) -> None:
        async with asyncio.timeout(DEADLINE):
            while self.open:
                await asyncio.sleep(0.001)

    def answer(self, request: bytes) -> bytes:
        key, _, correlation = struct.unpack(">hhi", request[:8])
        self.answers -= 1
        if self.answers < 0 or (body := self._answer(key)) is None:
            return b""
        return struct.pack(">ii", len(body) + 4, correlation) + body

    def _answer(self, key: int) -> bytes | None:
        match key:
            case _ if key == API_VERSIONS:
                known = [(each, int(each == FIND_COORDINATOR), int(each == FIND_COORDINATOR)) for each in range(30)]
                found: Any = ApiVersionResponse_v0(error_code=0, api_versions=known)
            case _ if key == METADATA:
                found = MetadataResponse_v0(brokers=[(1, HOST, self.port)], topics=[(0, TOPIC, [(0, 0, 1, [1], [1])])])
            case _ if key == FIND_COORDINATOR:
                found = FindCoordinatorResponse_v1(
                    throttle_time_ms=0, error_code=0, error_message="", coordinator_id=1, host=HOST, port=self.port
                )
            case _ if key == INIT_PRODUCER_ID:
                found = InitProducerIdResponse_v0(throttle_time_ms=0, error_code=0, producer_id=7, producer_epoch=0)
            case _:
                return None
        return bytes(found.encode())


class _Conversation(asyncio.Protocol):
    def __init__(self, broker: ScriptedBroker) -> None:
        self._broker = broker
        self._unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._broker.opened += 1
        self._broker.open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._broker.open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._unread += data
        while len(self._unread) >= 4:
            (size,) = struct.unpack(">i", self._unread[:4])
            request, rest = self._unread[4 : 4 + size], self._unread[4 + size :]
            if len(request) < size:
                return
            self._unread = rest
            self._transport.write(self._broker.answer(request))


async def _producer(settings: Settings) -> None:
    await _start_and_stop(kafka.new_producer(settings, "test"))


async def _transactional(settings: Settings) -> None:
    await _start_and_stop(kafka.new_transactional_producer(settings, "test"))


async def _reader(settings: Settings) -> None:
    await _start_and_stop(kafka.new_reader(settings, "test", TOPIC))


async def _member(settings: Settings) -> None:
    await _start_and_stop(kafka.new_group_consumer(settings, "test"))


async def _admin(settings: Settings) -> None:
    async with kafka.admin_client(settings) as admin:
        await admin.list_topics()


async def _start_and_stop(client: Any) -> None:
    await kafka.start(client, kafka.START_SECONDS)
    await kafka.stop(client, PATIENCE)


Kind = Callable[[Settings], Coroutine[Any, Any, None]]
NewLoop = Callable[[], asyncio.AbstractEventLoop]

KINDS: Final = [_producer, _transactional, _reader, _member, _admin]
LOOPS: Final = [asyncio.new_event_loop, uvloop.new_event_loop]


class CutShort:
    """Awaits a coroutine and cancels the task at its n-th point of waiting: before what it waits for, or just after."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], nth: int, *, after: bool) -> None:
        self._coroutine = coroutine
        self._nth = nth
        self._after = after
        self.reached = False

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        waiting = self._coroutine.__await__()
        value: Any = None
        thrown: BaseException | None = None
        for number in count():
            try:
                future = waiting.send(value) if thrown is None else waiting.throw(thrown)
            except StopIteration:
                return
            value = thrown = None
            if number == self._nth:
                self.reached = True
                if self._after and future is not None:
                    future.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                value = yield future
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's to handle
                thrown = error


def complaints(loop: NewLoop, trial: Callable[[], Coroutine[Any, Any, None]]) -> list[str]:
    """Run a trial to its end; return what was dropped without being closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        with asyncio.Runner(loop_factory=loop) as runner:
            runner.run(trial())
        gc.collect()
    return [str(each.message) for each in caught]


@pytest.fixture(autouse=True)
def _little_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STOP_SECONDS", "GIVE_UP_SECONDS"):
        monkeypatch.setattr(kafka, name, PATIENCE)


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_broker_that_falls_silent_is_left(kind: Kind, loop: NewLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "START_SECONDS", PATIENCE)

    async def left_after(answers: int) -> None:
        broker = ScriptedBroker(answers)
        async with broker.running() as settings:
            with suppress(UnreachableError, TimeoutError):
                async with asyncio.timeout(5 * PATIENCE):
                    await kind(settings)
        assert broker.opened

    async def trial() -> None:
        async with asyncio.TaskGroup() as group:
            for answers in range(MOST_ANSWERS):
                group.create_task(left_after(answers))

    assert complaints(loop, trial) == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "just after"])
@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_at_any_point_of_waiting_nothing_stays_open(kind: Kind, loop: NewLoop, *, after: bool) -> None:
    points: list[bool] = []

    async def cut_short(settings: Settings, nth: int) -> None:
        cut = CutShort(kind(settings), nth, after=after)

        async def awaited() -> None:
            await cut

        task = asyncio.create_task(awaited())
        await asyncio.wait([task])
        points.append(cut.reached)
        if not task.cancelled() and (error := task.exception()) and not isinstance(error, UnreachableError):
            raise error

    async def trial() -> None:
        async with ScriptedBroker().running() as settings, asyncio.TaskGroup() as group:
            for nth in range(MOST_POINTS):
                group.create_task(cut_short(settings, nth))

    assert complaints(loop, trial) == []
    assert points.count(True) >= 4
    assert False in points, f"more than {MOST_POINTS} points of waiting"


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_connection_that_the_broker_ended_is_closed_though_looked_up_before_that_is_noticed(loop: NewLoop) -> None:
    async def trial() -> None:
        async with ScriptedBroker().running() as settings:
            producer = kafka.new_producer(settings, "test")
            await kafka.start(producer)
            (ended,) = producer.client._conns.values()
            ended._reader.feed_eof()
            del ended
            assert await producer.client.ready(1)
            await kafka.stop(producer, PATIENCE)

    assert complaints(loop, trial) == []


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_closed_client_opens_no_connection(loop: NewLoop) -> None:
    async def trial() -> None:
        async with ScriptedBroker().running() as settings:
            producer = kafka.new_producer(settings, "test")
            await kafka.start(producer)
            producer.client._conns.clear()
            opening = asyncio.create_task(producer.client.ready(1))
            await asyncio.sleep(0)
            await kafka.stop(producer, PATIENCE)
            assert not await opening

    assert complaints(loop, trial) == []


def test_a_request_on_a_connection_that_has_just_ended_is_an_error_of_kafka() -> None:
    """Uvloop raises a `RuntimeError` then, which ends aiokafka's tasks in the middle of their work."""

    async def trial() -> None:
        async with ScriptedBroker().running() as settings:
            producer = kafka.new_producer(settings, "test")
            await kafka.start(producer)
            (connection,) = producer.client._conns.values()
            connection._read_task.cancel()
            connection._writer.transport.abort()
            with suppress(ConnectionError):
                await connection._writer.wait_closed()
            with pytest.raises(KafkaConnectionError):
                await connection.send(MetadataRequest([]))
            assert await producer.client.force_metadata_update()
            await kafka.stop(producer, PATIENCE)

    assert complaints(uvloop.new_event_loop, trial) == []


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
def test_a_client_goes_on_asking_for_leaders_whatever_one_answer_does(
    loop: NewLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def trial() -> None:
        async with ScriptedBroker().running() as settings:
            producer = kafka.new_producer(settings, "test")
            await kafka.start(producer)
            with monkeypatch.context() as spoilt:
                spoilt.setattr(producer.client.cluster, "update_metadata", _fail)
                asked = asyncio.ensure_future(producer.client.force_metadata_update())
                while not failures:
                    await asyncio.sleep(0.001)
            async with asyncio.timeout(DEADLINE):
                assert await asked
            await kafka.stop(producer, PATIENCE)

    failures: list[object] = []

    def _fail(metadata: object) -> None:
        failures.append(metadata)
        raise AssertionError("an answer that aiokafka did not expect")

    assert complaints(loop, trial) == []
