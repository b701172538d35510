"""The tail: one reader for all tabs, which rows a tab gets, how many it misses, when all of it ends."""

import asyncio
import re
from collections.abc import AsyncGenerator
from typing import Any, Final

import aiohttp
import msgspec
import pytest

from console import tail as module
from console import tail_stream
from console.page import Context
from console.tail import FullError, Tail, row_of, without_personal
from operators.views.tail import ShownReading, ShownRecord
from operators.views.watching import MOST_A_SECOND, Glimpse, Watched, _Pace, chosen
from runtime.errors import UnreachableError
from runtime.settings import load_settings
from schemas.topics import Topic
from tests.unit.console.consoles import console, context_of
from tests.unit.schemas.examples import EXAMPLES
from tests.waiting import until

AT: Final = "2026-11-27T12:00:00.000000Z"
SETTINGS: Final = load_settings({})
EVENT: Final = msgspec.json.decode((EXAMPLES / "shipment.events.v1.001.json").read_bytes())


def raw(number: int, body: Any = None) -> Watched:
    reading = ShownReading("dash:DE-1", "FAILED", "FAILED")
    headers = {"courier": "dash", "source": "push"}
    return Watched(Topic.RAW, ShownRecord("raw", 1, number, AT, "dash:DE-1", headers, 9, body, reading))


class Passing:
    """What passes: glimpses that a test gives. It counts how many readers there are."""

    def __init__(self) -> None:
        self.glimpses: asyncio.Queue[Glimpse | Exception] = asyncio.Queue()
        self.readers = self.begun = 0
        self.tells: Any = None

    async def watch(self, _settings: Any, _positions: Any, tell: Any) -> AsyncGenerator[Glimpse, None]:
        self.readers += 1
        self.begun += 1
        self.tells = tell
        try:
            yield Glimpse((), 0)
            while True:
                try:
                    async with asyncio.timeout(0.02):
                        given = await self.glimpses.get()
                except TimeoutError:
                    given = Glimpse((), 0)
                if isinstance(given, Exception):
                    raise given
                yield given
        finally:
            self.readers -= 1

    def give(self, *numbers: int, left_out: int = 0) -> None:
        self.glimpses.put_nowait(Glimpse(tuple(map(raw, numbers)), left_out))


@pytest.fixture
def passing() -> Passing:
    return Passing()


async def test_one_reader_serves_every_tab_and_each_is_told_what_it_misses(passing: Passing) -> None:
    tail = Tail(SETTINGS, passing.watch)
    with tail.following(), tail.following():
        assert (await tail.newest(50)).rows == ()
        passing.give(1, 2, left_out=3)
        found = [await tail.after(0, None, 5) for _ in range(2)]
        for news in found:
            assert news is not None
            assert ([row.place for row in news.rows], news.left_out, news.number) == (["1:1", "1:2"], 3, 5)
        assert await tail.after(5, None, 0.01) is None
        assert passing.begun == 1
    await tail.close()
    assert passing.readers == 0


async def test_a_tab_that_falls_behind_misses_rows_and_is_told_how_many(
    passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 4)
    tail = Tail(SETTINGS, passing.watch)
    with tail.following():
        for number in range(10):
            passing.give(number)
        await until(lambda: tail.number == 10)
        news = await tail.after(2, None, 5)
        assert news is not None
        assert ([row.number for row in news.rows], news.left_out) == ([7, 8, 9, 10], 4)
        assert [row.number for row in (await tail.newest(2)).rows] == [9, 10]
    await tail.close()


async def test_it_reads_only_while_somebody_looks(passing: Passing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.05)
    tail = Tail(SETTINGS, passing.watch)
    await tail.newest(50)
    assert tail.reads
    await until(lambda: not tail.reads)
    assert passing.readers == 0
    with tail.following():
        await asyncio.sleep(0.2)  # longer than it would linger
        assert (tail.reads, passing.begun) == (True, 2)
    await until(lambda: not tail.reads)
    await tail.close()


async def test_what_keeps_it_from_reading_is_told_until_it_reads_again(
    passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.05)
    tail = Tail(SETTINGS, passing.watch)
    with tail.following():
        await tail.newest(50)
        for error, told in (
            (UnreachableError("Kafka is away"), "Kafka is away"),
            (ZeroDivisionError("hunter2"), "it failed: the console's log says why"),
        ):
            passing.glimpses.put_nowait(error)
            news = await tail.after(0, None, 5)
            assert (news and news.trouble) == told
            again = await tail.after(0, told, 5)
            assert again is not None
            assert again.trouble is None
        passing.tells("waiting: no broker")
        assert (await tail.newest(50)).trouble == "waiting: no broker"
        passing.tells("Kafka is back")
        assert (await tail.newest(50)).trouble is None
    await tail.close()


async def test_tabs_are_bounded(passing: Passing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_TABS", 1)
    tail = Tail(SETTINGS, passing.watch)
    async with console(context=with_tail(tail)) as ask:
        with tail.following():
            with pytest.raises(FullError), tail.following():
                pass
            answer = await ask("/tail/stream")
            assert (answer.status, "1 tabs follow already" in answer.text) == (503, True)
        assert tail.tabs == 0


def with_tail(tail: Tail) -> Context:
    return msgspec.structs.replace(context_of({}), tail=tail)


async def lines_of(response: aiohttp.ClientResponse, start: str) -> AsyncGenerator[str, None]:
    async for line in response.content:
        if line.startswith(start.encode()):
            yield line.decode().removeprefix(start).strip()


async def test_a_stream_sends_rows_and_ends_when_its_tab_does(
    passing: Passing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_stream, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.1)
    tail = Tail(SETTINGS, passing.watch)
    async with console(context=with_tail(tail)) as ask:
        passing.give(1)
        page = (await ask("/tail")).text
        await until(lambda: tail.number == 1)
        url = ask.origin + "/tail/stream"  # type: ignore[attr-defined]
        async with aiohttp.ClientSession() as session:
            response = await session.get(url, params={"after": "1"})
            assert response.headers["Content-Type"] == "text/event-stream"
            assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
            passing.give(7, left_out=2)
            told = msgspec.json.decode(await anext(lines_of(response, "data: ")))
            assert (told["left_out"], told["trouble"]) == (2, None)
            assert re.findall(r"<td>(1:\d)</td>", told["rows"]) == ["1:7"]
            assert tail.tabs == 1
            response.close()
            await until(lambda: tail.tabs == 0)
            again = await session.get(url, headers={"Last-Event-ID": "1"})
            assert await anext(lines_of(again, "id: ")) == "4"
            again.close()
        await until(lambda: tail.tabs == 0 and not tail.reads)
    assert 'data-stream="/tail/stream?' in page or 'data-stream="/tail/stream"' in page


async def test_a_stop_ends_streams_at_once(passing: Passing) -> None:
    tail = Tail(SETTINGS, passing.watch)
    async with console(context=with_tail(tail)) as ask, asyncio.timeout(5):
        stream = asyncio.ensure_future(ask("/tail/stream"))
        await until(lambda: tail.tabs == 1)
        await tail.close()
        assert (await stream).status == 200
        assert (tail.tabs, passing.readers) == (0, 0)
        assert (await ask("/tail/stream")).status == 503


@pytest.mark.parametrize("seconds", ["HEARTBEAT_SECONDS", "LENGTH_SECONDS"])
async def test_a_stream_has_an_end(passing: Passing, monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setattr(tail_stream, "LENGTH_SECONDS", 0.2)
    monkeypatch.setattr(tail_stream, "HEARTBEAT_SECONDS", 0.05 if seconds == "HEARTBEAT_SECONDS" else 0.2)
    async with console(context=with_tail(Tail(SETTINGS, passing.watch))) as ask:
        answer = await ask("/tail/stream?after=nonsense")
        assert answer.text.startswith("retry: 2000\n\n")


def test_personal_data_stands_beside_what_a_row_says_and_can_be_taken_away() -> None:
    event = Watched(Topic.EVENTS, ShownRecord("e", 1, 2, AT, EVENT["shipment_id"], {}, 9, EVENT))
    body = raw(1, {"courier": {"name": "Budi Santoso"}})
    for watched, personal in ((event, EVENT["personal"]), (body, {"courier": {"name": "Budi Santoso"}})):
        row = row_of(5, watched)
        assert row.personal == personal
        assert "Budi" not in msgspec.json.encode(without_personal(row)).decode()
    assert row_of(5, event).shipment_id == EVENT["shipment_id"]
    assert (row_of(5, body).kind, row_of(5, body).courier) == ("in", "dash")


@pytest.mark.parametrize("value", [None, "no JSON", 7, {}, {"courier": 7, "status": None}, {"personal": "x"}])
@pytest.mark.parametrize("topic", [Topic.EVENTS, Topic.ANOMALIES])
def test_whatever_others_wrote_is_a_row(topic: Topic, value: Any) -> None:
    assert row_of(1, Watched(topic, ShownRecord("t", 1, 2, "-1 ms", None, {}, 0, value))).says


class Taken(msgspec.Struct):
    topic: str
    timestamp: int


def test_of_a_flood_each_topic_s_newest_are_shown_in_their_order() -> None:
    flood = [Taken("raw", 2 * number) for number in range(1_000)]
    other = [Taken("raw", 2 * number + 1) for number in range(1_000)]
    events = [Taken("events", 500), Taken("events", 5)]  # a partition's order stays, whatever the times are
    found = chosen([flood, other, events, []], 6)
    assert [each for each in found if each.topic == "events"] == events
    assert sorted(each.timestamp for each in found if each.topic == "raw") == [1996, 1997, 1998, 1999]
    assert chosen([flood], 0) == []
    assert chosen([events], 20) == events


def test_no_second_shows_more_than_may_be_shown() -> None:
    pace, shown = _Pace(), []
    for tick in range(40):
        now = tick * 0.2
        count = min(7, pace.allowed(now))
        pace.took(count, now)
        shown += [now] * count
    assert max(sum(1 for each in shown if start <= each < start + 0.99) for start in shown) == MOST_A_SECOND
    assert len(shown) >= 7 * MOST_A_SECOND
