"""Records of several webhooks for one partition, sent together."""

import asyncio
from collections.abc import Sequence

import pytest

from ingest.errors import RefusedError, UnavailableError
from ingest.joining import Joining
from schemas.records import NewRecord
from tests.waiting import until


def records(*values: str) -> list[NewRecord]:
    return [NewRecord(b"k", value.encode(), [], 0) for value in values]


class Sends:
    """What is sent, one send after another, each held until it is let go; and how the next ones end."""

    def __init__(self) -> None:
        self.sent: list[tuple[int, str]] = []
        self.times: list[tuple[float, float]] = []
        self.let_go = asyncio.Event()
        self.outcomes: list[UnavailableError | Exception | None] = []
        self.under_way = 0
        self.joining = Joining(self)

    async def __call__(
        self, partition: int, given: Sequence[NewRecord], began: float, seconds: float
    ) -> UnavailableError | None:
        self.sent.append((partition, "".join(record.value.decode() for record in given)))
        self.times.append((began, seconds))
        outcome = self.outcomes.pop(0) if self.outcomes else None
        self.under_way += 1
        await self.let_go.wait()
        self.under_way -= 1
        if isinstance(outcome, Exception) and not isinstance(outcome, UnavailableError):
            raise outcome
        return outcome

    async def begin(self, values: str) -> "asyncio.Future[UnavailableError | None]":
        """Append something, and return when it is under way."""
        future = self.joining.append(0, records(*values), 2)
        await until(lambda: self.under_way > 0)
        return future


@pytest.fixture
async def sends() -> Sends:
    return Sends()


async def test_what_comes_at_once_goes_at_once(sends: Sends) -> None:
    sends.let_go.set()
    await asyncio.gather(*(sends.joining.append(0, records(value), 2) for value in "abc"))
    assert sends.sent == [(0, "abc")]


async def test_what_comes_meanwhile_goes_together_in_order(sends: Sends) -> None:
    first = await sends.begin("a")
    behind = [sends.joining.append(0, records(*values), 2) for values in ("bc", "d", "ef")]
    sends.let_go.set()
    assert [await each for each in (first, *behind)] == [None] * 4
    assert sends.sent == [(0, "a"), (0, "bcdef")]


async def test_no_partition_waits_for_another(sends: Sends) -> None:
    await sends.begin("a")
    sends.joining.append(1, records("b"), 2)
    await until(lambda: len(sends.sent) == 2)
    assert sends.sent == [(0, "a"), (1, "b")]


async def test_a_send_counts_its_seconds_from_the_first_that_waited(sends: Sends) -> None:
    first = await sends.begin("a")
    now = asyncio.get_running_loop().time
    before, second, after = now(), sends.joining.append(0, records("b"), 3.0), now()
    await asyncio.sleep(0.01)
    third = sends.joining.append(0, records("c"), 4.0)
    sends.let_go.set()
    await asyncio.gather(first, second, third)
    _, (began, seconds) = sends.times
    assert before <= began <= after
    assert seconds == 3.0


@pytest.mark.parametrize(
    ("acknowledged", "expected"),
    [
        (0, [0, 0, 0]),
        (1, [1, 0, 0]),
        (2, [None, 0, 0]),
        (3, [None, None, 0]),
        (4, [None, None, 1]),
        (5, [None, None, None]),
    ],
)
async def test_who_is_acknowledged_has_not_failed(sends: Sends, acknowledged: int, expected: list[int | None]) -> None:
    sends.let_go.set()
    sends.outcomes = [RefusedError("too large", acknowledged)]
    outcomes = await asyncio.gather(*(sends.joining.append(0, records(*values), 2) for values in ("ab", "c", "de")))
    assert [None if outcome is None else outcome.acknowledged for outcome in outcomes] == expected
    assert all(isinstance(outcome, RefusedError) for outcome in outcomes if outcome)
    assert all(str(outcome) == "too large" for outcome in outcomes if outcome)


async def test_who_waits_behind_a_failure_fails_with_it_and_is_not_sent(sends: Sends) -> None:
    sends.outcomes = [UnavailableError("no leader", 1)]
    first = await sends.begin("a")
    behind = sends.joining.append(0, records("b"), 2)
    sends.let_go.set()
    assert await first is None
    failed = await behind
    assert failed is not None
    assert (str(failed), failed.acknowledged) == ("no leader", 0)
    assert await sends.joining.append(0, records("c"), 2) is None
    assert sends.sent == [(0, "a"), (0, "c")]


async def test_what_nobody_foresaw_comes_out_where_it_is_waited_for(sends: Sends) -> None:
    sends.let_go.set()
    sends.outcomes = [RuntimeError("inner workings")]
    both = [sends.joining.append(0, records(value), 2) for value in "ab"]
    for each in both:
        with pytest.raises(RuntimeError, match="inner workings"):
            await each
    assert await sends.joining.append(0, records("c"), 2) is None


async def test_who_leaves_harms_nobody(sends: Sends) -> None:
    first = await sends.begin("a")
    leaving, staying = (sends.joining.append(0, records(value), 2) for value in "bc")
    first.cancel()
    leaving.cancel()
    sends.let_go.set()
    assert await staying is None
    assert sends.sent == [(0, "a"), (0, "bc")]
