"""What operators' commands append goes in whole batches, and each record is found where it came to stand."""

import asyncio
import gc
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError
from hypothesis import given
from hypothesis import strategies as st

from runtime.appending import Appender
from runtime.errors import UnreachableError
from schemas.partitioning import partition_of
from schemas.records import NewRecord

PARTITIONS = 3
ROOM = 4


class FakeBatch:
    """Takes some records."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def append(self, *, key: bytes | None, value: bytes, timestamp: int, headers: Any) -> object | None:
        if len(self.values) == ROOM:
            return None
        self.values.append(value)
        return object()

    def close(self) -> None:
        pass


class Log:
    """A producer whose broker keeps what it is sent, by partition; `refused` sends fail, counted from 0."""

    def __init__(self, refused: int | None = None) -> None:
        self.partitions: dict[int, list[bytes]] = defaultdict(list)
        self.sent = 0
        self.refused = refused
        self.create_batch = FakeBatch

    async def send_batch(self, batch: FakeBatch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        delivery: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.sent == self.refused:
            raise MessageSizeTooLargeError("too large")
        self.sent += 1
        log = self.partitions[partition]
        place = type("Place", (), {"offset": len(log)})
        log += batch.values
        asyncio.get_running_loop().call_soon(_deliver, delivery, place)
        return delivery


def _deliver(delivery: asyncio.Future[Any], place: Any) -> None:
    if not delivery.done():
        delivery.set_result(place)


def records(keys: Sequence[bytes | None]) -> list[NewRecord]:
    return [NewRecord(key, f"{number}".encode(), [], 0) for number, key in enumerate(keys)]


@given(keys=st.lists(st.none() | st.sampled_from([b"a", b"b", b"c", b"d"]), max_size=40))
def test_records_stand_in_their_partitions_in_order(keys: list[bytes | None]) -> None:
    log = Log()
    appended = records(keys)
    places = asyncio.run(Appender(log, "raw", PARTITIONS).append(appended))  # type: ignore[arg-type]
    assert [log.partitions[partition][offset] for partition, offset in places] == [each.value for each in appended]
    for key in {each for each in keys if each is not None}:
        own = [place for place, record in zip(places, appended, strict=True) if record.key == key]
        assert {partition for partition, _ in own} == {partition_of(key, PARTITIONS)}
        assert own == sorted(own)
    assert log.sent <= len(keys) // ROOM + PARTITIONS


async def test_what_was_sent_before_a_refusal_is_not_told_as_lost() -> None:
    told: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    appender = Appender(Log(refused=2), "raw", 1)  # type: ignore[arg-type]
    with pytest.raises(UnreachableError, match="did not take the records"):
        await appender.append(records([b"a"] * ROOM * 4))
    del appender
    gc.collect()
    assert told == []
