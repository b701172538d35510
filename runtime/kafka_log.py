"""What a partition's log holds between its records: a consumer passes over markers and aborted records unsaid.

Reaches into aiokafka 0.14: its consumer gives records alone.
"""

from collections.abc import AsyncIterator
from typing import Any, Final, cast

import msgspec
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import NotLeaderForPartitionError, for_code
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.control_record import ABORT_MARKER, ControlRecord
from aiokafka.record.memory_records import MemoryRecords

from runtime.kafka_types import Consumer

LOOK_BYTES: Final = 1024 * 1024
"""How much of a log is looked at in one request. The first batch comes whole, whatever its size."""

_WAIT_MS: Final = 50
_READ_COMMITTED: Final = 1


class Batch(msgspec.Struct, frozen=True):
    """One batch of a log: the offsets it takes up, and those of its records that a reader is given.

    `explained`: the other offsets were never records to be read: a transaction's marker, or one that was aborted.
    """

    start: int
    end: int
    offsets: tuple[int, ...]
    explained: bool


def connection(consumer: Consumer, part: TopicPartition) -> AIOKafkaConnection | None:
    """Return the connection over which a partition is read just now. It outlives no broker's end and no new leader."""
    client = client_of(consumer)
    leader = client.cluster.leader_for_partition(part)
    return client._conns.get((leader, ConnectionGroup.DEFAULT))


async def batches(consumer: Consumer, part: TopicPartition, start: int, end: int) -> AsyncIterator[Batch]:
    """Give the batches of a partition from the one that holds `start` up to `end`, as far as they are committed.

    Raises:
        KafkaError: the partition's leader does not answer, or the log does not reach to `start`.

    """
    while start < end:
        found = list(await _fetched(consumer, part, start))
        if not found or found[-1].end <= start:
            return
        for batch in found:
            if batch.start >= end:
                return
            yield batch
        start = found[-1].end


def client_of(consumer: Consumer) -> AIOKafkaClient:
    """Return the connections below a consumer."""
    client: AIOKafkaClient = cast("Any", consumer)._client
    return client


async def _fetched(consumer: Consumer, part: TopicPartition, offset: int) -> list[Batch]:
    client = client_of(consumer)
    leader = client.cluster.leader_for_partition(part)
    if leader is None or leader < 0:
        raise NotLeaderForPartitionError(part)
    wanted = [(part.topic, [(part.partition, offset, LOOK_BYTES)])]
    response = await client.send(leader, FetchRequest(_WAIT_MS, 1, LOOK_BYTES, _READ_COMMITTED, wanted))
    ((_, ((_, code, _, *data),)),) = response.topics
    if code:
        raise for_code(code)(part)
    aborted = data[2 if response.API_VERSION >= 11 else -2]
    return _read(MemoryRecords(bytes(data[-1] or b"")), sorted(aborted or (), key=lambda each: each[1]))


def _read(records: Any, aborted: list[tuple[int, int]]) -> list[Batch]:
    """Read batches; `aborted` are the aborted transactions: producer and first offset, in order."""
    found, aborting = [], set[int]()
    while records.has_next():
        batch = records.next_batch()
        start, end = batch.base_offset, batch.next_offset
        while aborted and aborted[0][1] <= start:
            aborting.add(aborted.pop(0)[0])
        if batch.is_control_batch:
            if ControlRecord.parse(next(batch).key) == ABORT_MARKER:
                aborting.discard(batch.producer_id)
            found.append(Batch(start, end, (), explained=True))
        elif batch.is_transactional and batch.producer_id in aborting:
            found.append(Batch(start, end, (), explained=True))
        else:
            found.append(Batch(start, end, tuple(record.offset for record in batch), explained=False))
    return found
