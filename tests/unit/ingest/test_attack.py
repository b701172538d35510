"""A door under load and attack: slow peers, crowds, large heads, and no memory left."""

import asyncio
import gzip

import msgspec
import pytest

import ingest.app
import ingest.server
import ingest.spool
from tests.unit.ingest.door_suite import DELIVERY
from tests.unit.ingest.doors import DASH, KIRIMINAJA, Answer, FakePublisher, RunningDoor, running_door

DEADLINE = 10.0
HEAD = b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: dash-new\r\n"


async def rest_of(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(DEADLINE):
        return await reader.read()


def assert_overloaded(answer: Answer) -> None:
    answer.assert_problem(503)
    assert int(answer.headers["Retry-After"]) > 0
    assert msgspec.json.decode(answer.body)["type"].endswith(":overloaded")


@pytest.mark.parametrize("begun", [b"", b"POST /webhooks/dash HT", HEAD, HEAD + b"X: "])
async def test_a_slow_head_is_cut_off(door: RunningDoor, monkeypatch: pytest.MonkeyPatch, begun: bytes) -> None:
    monkeypatch.setattr(ingest.server, "HEAD_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(begun)
    assert await rest_of(reader) == b""
    writer.close()


async def test_a_slow_second_head_is_cut_off(door: RunningDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
    assert b" 200 " in await reader.readline()
    monkeypatch.setattr(ingest.server, "HEAD_SECONDS", 0.2)
    writer.write(HEAD)
    assert (await rest_of(reader)).endswith(b'"records":1}')
    writer.close()


async def test_an_idle_connection_is_not_a_slow_head(door: RunningDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.server, "HEAD_SECONDS", 0.5)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    for _ in range(2):
        writer.write(HEAD + b"Content-Length: 2\r\n\r\n{}")
        await reader.readuntil(b'"records":1}')
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.8)
    writer.close()


async def test_a_slow_body_within_its_time_is_accepted(
    door: RunningDoor, publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.server, "HEAD_SECONDS", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(HEAD + b"Content-Length: %d\r\n\r\n" % len(DELIVERY))
    for at in range(len(DELIVERY)):
        writer.write(DELIVERY[at : at + 1])
        await writer.drain()
        await asyncio.sleep(0.01)
    assert b" 200 " in await reader.readline()
    assert publisher.records[0].value == DELIVERY
    writer.close()


async def test_a_head_without_end_is_refused(door: RunningDoor) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(HEAD)
    for number in range(9):
        writer.write(b"X-%d: %s\r\n" % (number, b"x" * 4_000))
        await writer.drain()
    answer = await rest_of(reader)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert msgspec.json.decode(answer.partition(b"\r\n\r\n")[2])["status"] == 400
    writer.close()


async def test_more_connections_than_allowed_are_told_to_come_later(publisher: FakePublisher) -> None:
    async with running_door(publisher, max_connections=3) as door:
        held = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        head, _, body = (await rest_of(reader)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: 5" in head
        assert b"\r\nContent-Type: application/problem+json\r\n" in head
        assert msgspec.json.decode(body)["status"] == 503
        assert door.metric("waybill_ingest_requests_total", courier="", code="503") == 1
        writer.close()
        for _, each in held:
            each.close()
        async with asyncio.timeout(DEADLINE):
            while (await door.post("/webhooks/dash", DELIVERY, DASH)).status != 200:
                await asyncio.sleep(0.01)


async def test_a_peer_that_reads_no_answers_is_cut_off(door: RunningDoor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest.server, "ANSWER_SECONDS", 0.3)
    _, writer = await asyncio.open_connection("127.0.0.1", door.port, limit=1)
    flood = (HEAD.replace(b"dash-new", b"wrong") + b"Content-Length: 0\r\n\r\n") * 200

    async def pour() -> None:
        async with asyncio.timeout(DEADLINE):
            while True:
                writer.write(flood)
                await writer.drain()

    with pytest.raises(ConnectionError):
        await pour()
    writer.close()


async def test_bodies_beyond_the_memory_for_them_are_told_to_come_later(
    publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.app, "BODIES_BYTES", 100)
    monkeypatch.setattr(ingest.app, "BODY_LIMITS_IN_MEMORY", 0)
    async with running_door(publisher) as door:
        publisher.let_go.clear()
        first = asyncio.create_task(door.post("/webhooks/dash", b"x" * 60, DASH))
        await publisher.entered.wait()
        assert_overloaded(await door.post("/webhooks/dash", b"x" * 60, DASH))
        assert_overloaded(await door.post("/webhooks/dash", b"x" * 101, DASH))
        packed = gzip.compress(b"x" * 60)
        assert_overloaded(await door.post("/webhooks/dash", packed, DASH | {"Content-Encoding": "gzip"}))
        second = asyncio.create_task(door.post("/webhooks/dash", b"x" * 40, DASH))
        publisher.let_go.set()
        assert [(await first).status, (await second).status] == [200, 200]
        assert (await door.post("/webhooks/dash", b"x" * 100, DASH)).status == 200  # all came back
        assert len(publisher.records) == 3


async def test_many_tiny_items_count_for_more_than_their_bytes(
    publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.app, "BODIES_BYTES", 2_000)
    monkeypatch.setattr(ingest.app, "BODY_LIMITS_IN_MEMORY", 0)
    async with running_door(publisher) as door:
        body = b'{"method":"shipped_packages","data":[%s]}' % b",".join([b"{}"] * 20)
        assert_overloaded(await door.post("/webhooks/kiriminaja", body, KIRIMINAJA))
        assert publisher.records == []


async def test_wrong_secrets_are_counted(door: RunningDoor) -> None:
    for secret in ("guess", "dash-ne", "dash-new "):
        (await door.post("/webhooks/dash", DELIVERY, {"X-Dash-Secret": f"{secret}x"})).assert_problem(401)
    assert door.metric("waybill_ingest_requests_total", courier="dash", code="401") == 3
