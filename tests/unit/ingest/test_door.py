"""The door with a fake publisher: the table of answers, the order of judgement, and bad HTTP."""

import asyncio
import gzip
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from itertools import product

import msgspec
import pytest

import ingest.app
from tests.unit.ingest.door_suite import DELIVERY, PARTITIONS, DoorSuite
from tests.unit.ingest.doors import (
    DASH,
    KIRIMINAJA,
    FakePublisher,
    Kept,
    RunningDoor,
    kept_records,
    running_door,
    settings_with,
)

LIMIT = 1_048_576


class MemoryStore:
    def __init__(self, publisher: FakePublisher) -> None:
        self._publisher = publisher

    async def kept(self, count: int) -> Sequence[Kept]:
        assert len(self._publisher.records) == count
        return kept_records(self._publisher.records, PARTITIONS)


@pytest.fixture
def store(publisher: FakePublisher) -> MemoryStore:
    return MemoryStore(publisher)


class TestDoor(DoorSuite):
    """The suite, on memory."""


# What may be wrong with a request, in the order of judgement: the first that is wrong decides.
FAULTS = {404: "courier", 405: "method", 401: "credentials", 413: "size", 400: "encoding", 503: "kafka"}


@pytest.mark.parametrize("wrong", list(product([False, True], repeat=len(FAULTS))))
async def test_the_first_fault_in_order_decides(
    wrong: tuple[bool, ...], door: RunningDoor, publisher: FakePublisher
) -> None:
    faults = dict(zip(FAULTS, wrong, strict=True))
    expected = next((status for status, is_wrong in faults.items() if is_wrong), 200)
    publisher.available = not faults[503]
    headers = {"X-Dash-Secret": "guess"} if faults[401] else dict(DASH)
    if faults[400]:
        headers["Content-Encoding"] = "gzip"
    answer = await door.ask(
        "PUT" if faults[405] else "POST",
        "/webhooks/nobody" if faults[404] else "/webhooks/dash",
        bytes(LIMIT + 10_000) if faults[413] else DELIVERY,
        headers,
    )
    if expected == 200:
        assert answer.status == 200
        assert len(publisher.records) == 1
    else:
        answer.assert_problem(expected)
        assert publisher.records == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/webhooks",
        "/webhooks/",
        "/webhooks/nobody",
        "/webhooks/Dash",
        "/webhooks/dash/",
        "/webhooks/dash/x",
        "/metrics",
        "/readyz",
        "/healthz/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_nothing_else_is_here(method: str, path: str, door: RunningDoor) -> None:
    (await door.ask(method, path, None, DASH)).assert_problem(404)


async def test_a_courier_without_secrets_is_off() -> None:
    async with running_door(FakePublisher(), settings_with(WAYBILL_KIRIMINAJA_TOKENS="")) as door:
        (await door.post("/webhooks/kiriminaja", b"{}", KIRIMINAJA)).assert_problem(404)
        (await door.ask("GET", "/webhooks/kiriminaja")).assert_problem(404)
        assert (await door.post("/webhooks/dash", b"{}", DASH)).status == 200


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])
async def test_a_webhook_is_posted(method: str, door: RunningDoor) -> None:
    answer = await door.ask(method, "/webhooks/dash")
    answer.assert_problem(405)
    assert answer.headers["Allow"] == "POST"


async def test_head_has_the_answer_without_its_body(door: RunningDoor) -> None:
    answer = await door.ask("HEAD", "/webhooks/dash")
    assert (answer.status, answer.headers["Allow"], answer.body) == (405, "POST", b"")


async def test_health_says_only_that_the_process_lives(door: RunningDoor, publisher: FakePublisher) -> None:
    publisher.available = False
    answer = await door.ask("GET", "/healthz")
    assert (answer.status, answer.body) == (200, b'{"status":"ok"}')
    assert "Server" not in answer.headers
    assert (await door.ask("HEAD", "/healthz")).status == 200
    refused = await door.post("/healthz")
    refused.assert_problem(405)
    assert refused.headers["Allow"] == "GET, HEAD"


async def test_a_refusal_does_not_say_what_was_wrong(door: RunningDoor) -> None:
    wrong: list[dict[str, str]] = [{}, {"Authorization": "Bearer x"}, {"Authorization": "Basic kiriminaja-token"}, DASH]
    answers = [await door.post("/webhooks/kiriminaja", b"{}", headers) for headers in wrong]
    for answer in answers:
        answer.assert_problem(401)
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="kiriminaja"'
    assert len({answer.body for answer in answers}) == 1


async def test_old_and_new_secret_are_accepted_side_by_side(door: RunningDoor) -> None:
    for secret in ("dash-old", "dash-new"):
        assert (await door.post("/webhooks/dash", b"{}", {"X-Dash-Secret": secret})).status == 200


async def test_a_doubled_credential_is_refused(door: RunningDoor) -> None:
    answer = await door.raw(
        b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: dash-new\r\nx-dash-secret: dash-new\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_the_header_of_dash_can_be_named_otherwise() -> None:
    async with running_door(FakePublisher(), settings_with(WAYBILL_DASH_HEADER_NAME="X-Other")) as door:
        (await door.post("/webhooks/dash", b"{}", DASH)).assert_problem(401)
        assert (await door.post("/webhooks/dash", b"{}", {"x-other": "dash-new"})).status == 200


async def test_unavailable_says_when_to_come_again(door: RunningDoor, publisher: FakePublisher) -> None:
    publisher.available = False
    answer = await door.post("/webhooks/dash", DELIVERY, DASH)
    answer.assert_problem(503)
    assert int(answer.headers["Retry-After"]) > 0


async def test_a_bomb_is_too_large(door: RunningDoor) -> None:
    bomb = gzip.compress(bytes(100 * LIMIT))
    (await door.post("/webhooks/dash", bomb, DASH | {"Content-Encoding": "gzip"})).assert_problem(413)


async def test_a_compressed_body_of_just_the_limit_is_accepted(door: RunningDoor) -> None:
    packed = gzip.compress(bytes(range(256)) * (LIMIT // 256), compresslevel=0)
    assert len(packed) > LIMIT
    assert (await door.post("/webhooks/dash", packed, DASH | {"Content-Encoding": "gzip"})).status == 200


async def test_a_chunked_body_over_the_limit_is_too_large(door: RunningDoor) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield bytes(32 * 1024)

    (await door.post("/webhooks/dash", chunks(), DASH)).assert_problem(413)


async def test_a_chunked_body_is_accepted(door: RunningDoor, publisher: FakePublisher) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield DELIVERY[:10]
        yield DELIVERY[10:]

    assert (await door.post("/webhooks/dash", chunks(), DASH)).status == 200
    assert publisher.records[0].value == DELIVERY


async def test_an_odd_content_type_is_kept_as_valid_text(door: RunningDoor, publisher: FakePublisher) -> None:
    answer = await door.raw(
        b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: dash-new\r\nContent-Type: a\xe9/b\r\n"
        b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
    )
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert ("content-type", "a\ufffd/b".encode()) in publisher.records[0].headers


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", id="TLS"),
        pytest.param(b"nonsense\r\n\r\n", id="no request line"),
        pytest.param(b"POST /webhooks/dash HTTP/1.1\r\nHost x\r\n\r\n", id="no header"),
        pytest.param(b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", id="length"),
        pytest.param(
            b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
            id="two lengths",
        ),
        pytest.param(
            b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
            id="length and chunks",
        ),
        pytest.param(b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", id="long path"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", id="long header"),
        pytest.param(
            b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: dash-new\r\n"
            b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
            id="bad chunk",
        ),
    ],
)
async def test_what_is_no_http_is_told_so(request_bytes: bytes, door: RunningDoor, publisher: FakePublisher) -> None:
    answer = await door.raw(request_bytes)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))
    assert b"content-type: application/problem+json" in head.lower()
    assert b"server:" not in head.lower()
    assert msgspec.json.decode(body)["status"] == 400
    assert publisher.records == []


async def test_an_error_of_our_own_shows_nothing_of_itself(
    door: RunningDoor, publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("inner workings")

    monkeypatch.setattr(publisher, "publish", broken)
    answer = await door.post("/webhooks/dash", DELIVERY, DASH)
    answer.assert_problem(500)
    assert b"inner" not in answer.body
    assert door.metric("waybill_ingest_requests_total", courier="", code="500") == 1
    assert (await door.ask("GET", "/healthz")).status == 200


def head(length: int, secret: str, *more: str) -> bytes:
    lines = ["POST /webhooks/dash HTTP/1.1", "Host: x", f"X-Dash-Secret: {secret}", f"Content-Length: {length}", *more]
    return "\r\n".join((*lines, "", "")).encode()


@pytest.mark.parametrize(
    ("version", "connection", "told"),
    [
        ("1.1", "", ""),
        ("1.1", "Connection: close\r\n", "Connection: close\r\n"),
        ("1.0", "", ""),
        ("1.0", "Connection: keep-alive\r\n", "Connection: keep-alive\r\n"),
    ],
)
async def test_the_head_of_an_answer_is_whole(version: str, connection: str, told: str, door: RunningDoor) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(
        f"POST /webhooks/dash HTTP/{version}\r\nHost: x\r\nX-Dash-Secret: dash-new\r\n{connection}"
        f"Content-Length: {len(DELIVERY)}\r\n\r\n".encode()
        + DELIVERY
    )
    answered = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert re.fullmatch(
        f"HTTP/{re.escape(version)} 200 OK\r\nContent-Type: application/json\r\nContent-Length: 85\r\n"
        rf"Date: \w{{3}}, \d\d \w{{3}} \d{{4}} \d\d:\d\d:\d\d GMT\r\n{told}\r\n",
        answered,
    )
    assert msgspec.json.decode(await reader.readexactly(85))["status"] == "accepted"
    writer.close()


async def test_webhook_ids_are_uuids_at_random(door: RunningDoor) -> None:
    answers = [await door.post("/webhooks/dash", DELIVERY, DASH) for _ in range(40)]
    ids = [msgspec.json.decode(answer.body)["webhook_id"] for answer in answers]
    assert len(set(ids)) == 40
    for each in map(uuid.UUID, ids):
        assert (each.version, each.variant) == (4, uuid.RFC_4122)
    assert [str(uuid.UUID(each)) for each in ids] == ids


async def test_the_body_is_asked_for_only_with_good_credentials(door: RunningDoor) -> None:
    for secret, expected in (("dash-new", b"HTTP/1.1 100 Continue"), ("guess", b"HTTP/1.1 401 Unauthorized")):
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(head(2, secret, "Expect: 100-continue"))
        assert (await reader.readline()).strip() == expected
        if secret == "dash-new":
            await reader.readline()
            writer.write(b"{}")
            assert (await reader.readline()).strip() == b"HTTP/1.1 200 OK"
        else:
            assert b"Connection: close" in await reader.readuntil(b"\r\n\r\n")
        writer.close()


async def test_a_length_over_the_limit_is_refused_without_the_body(door: RunningDoor) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(head(LIMIT + 1, "dash-new", "Expect: 100-continue"))
    async with asyncio.timeout(2):
        assert (await reader.readline()).strip() == b"HTTP/1.1 413 Request Entity Too Large"
    writer.close()


async def test_a_refused_sender_of_a_large_body_sees_the_answer(door: RunningDoor) -> None:
    (await door.post("/webhooks/dash", bytes(8 * LIMIT), {"X-Dash-Secret": "guess"})).assert_problem(401)
    (await door.post("/webhooks/dash", bytes(8 * LIMIT), DASH)).assert_problem(413)
    assert (await door.post("/webhooks/dash", DELIVERY, DASH)).status == 200


async def test_a_connection_serves_on_after_a_refusal(door: RunningDoor) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
    writer.write(head(2, "guess"))
    assert b" 401 " in await reader.readline()
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"{}" + head(2, "dash-new") + b"{}")
    answer = await reader.readuntil(b"HTTP/1.1 200 OK\r\n")
    assert answer.startswith(b'{"type":')
    writer.close()


async def test_a_body_too_slow_is_cut_off(
    door: RunningDoor, publisher: FakePublisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest.app, "BODY_SECONDS", 0.2)
    assert await door.raw(head(10, "dash-new") + b"{") == b""
    assert publisher.records == []


async def test_a_sender_who_leaves_in_the_middle_harms_nobody(
    door: RunningDoor, publisher: FakePublisher, caplog: pytest.LogCaptureFixture
) -> None:
    for rest in (b"", b"{"):
        _, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(head(10, "dash-new") + rest)
        await writer.drain()
        writer.close()
    assert (await door.post("/webhooks/dash", DELIVERY, DASH)).status == 200
    assert len(publisher.records) == 1
    assert not caplog.records


async def test_a_stopping_door_finishes_what_is_in_flight(door: RunningDoor, publisher: FakePublisher) -> None:
    publisher.let_go.clear()
    posting = asyncio.create_task(door.post("/webhooks/dash", DELIVERY, DASH))
    await publisher.entered.wait()
    draining = asyncio.create_task(door.door.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    publisher.let_go.set()
    answer = await posting
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    await draining


async def test_requests_are_counted_with_bounded_labels(door: RunningDoor) -> None:
    await door.post("/webhooks/dash", DELIVERY, DASH)
    await door.post("/webhooks/dash", DELIVERY)
    for path in ("/webhooks/x", "/webhooks/y", "/z"):
        await door.post(path)
    await door.raw(b"nonsense\r\n\r\n")
    total = "waybill_ingest_requests_total"
    assert door.metric(total, courier="dash", code="200") == 1
    assert door.metric(total, courier="dash", code="401") == 1
    assert door.metric(total, courier="", code="404") == 3
    assert door.metric(total, courier="", code="400") == 1
    assert door.metric("waybill_ingest_request_duration_seconds_count") == 5
    assert door.metric("waybill_ingest_last_accepted_timestamp_seconds", courier="dash") > 1.7e9
