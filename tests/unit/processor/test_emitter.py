"""What an emission leaves behind when it fails: nothing that is told as lost afterwards."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalOperation, ProducerFenced

from processor.core.cursor import Stream
from processor.core.messages import Message
from processor.kafka.emitter import Emitter
from processor.protocol.crash_points import no_one
from runtime.settings import load_settings
from schemas.topics import Topic


@pytest.fixture
async def lost() -> list[Mapping[str, Any]]:
    """Takes what the event loop tells as lost."""
    told: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    return told


Deliver = Callable[..., Awaitable[asyncio.Future[Any]]]


def new_emitter(deliver: Deliver) -> Emitter:
    """Make an emitter whose producer was let in already and sends like this."""
    made = Emitter(load_settings({}), Stream("raw", 1, "group"), 0, no_one)

    producer = internals(made)

    async def begin_transaction() -> None:
        producer._txn_manager.set_pid_and_epoch(1, 0)
        producer._txn_manager.begin_transaction()

    producer.begin_transaction, producer.send_batch = begin_transaction, deliver
    return made


def internals(emitter: Emitter) -> Any:
    return emitter._producer


def messages() -> list[Message]:
    return [Message(topic, b"key", b"value", [], 0) for topic in (Topic.EVENTS, Topic.STATE)]


async def test_a_batch_sent_before_the_producer_was_fenced_is_not_told_as_lost(lost: list[Mapping[str, Any]]) -> None:
    sent: list[asyncio.Future[Any]] = []

    async def deliver(*_: Any, **__: Any) -> asyncio.Future[Any]:
        if sent:
            sent[0].set_exception(ProducerFenced())
            raise IllegalOperation("Can't send messages while not in transaction")
        sent.append(asyncio.get_running_loop().create_future())
        return sent[0]

    emitter = new_emitter(deliver)
    with pytest.raises(IllegalOperation):
        await emitter.publish(messages(), None, 0)
    await emitter.close()
    del emitter
    sent.clear()
    gc.collect()
    assert lost == []


async def test_a_batch_that_waits_when_the_producer_is_fenced_is_not_told_as_lost(
    lost: list[Mapping[str, Any]],
) -> None:
    accumulators: list[Any] = []

    async def deliver(batch: Any, topic: str, partition: int) -> asyncio.Future[Any]:
        (accumulator,) = accumulators
        sent: asyncio.Future[Any] = await accumulator.add_batch(batch, TopicPartition(topic, partition), 1.0)
        asyncio.get_running_loop().call_soon(accumulator.fail_all, ProducerFenced())
        return sent

    emitter = new_emitter(deliver)
    accumulators.append(internals(emitter)._message_accumulator)
    with pytest.raises(ProducerFenced):
        await emitter.publish(messages()[:1], None, 0)
    await emitter.close()
    del emitter
    accumulators.clear()
    gc.collect()
    assert lost == []


async def test_a_fence_that_comes_behind_the_emission_is_not_told_as_lost(lost: list[Mapping[str, Any]]) -> None:
    async def deliver(*_: Any, **__: Any) -> asyncio.Future[Any]:
        raise asyncio.CancelledError

    emitter = new_emitter(deliver)
    with pytest.raises(asyncio.CancelledError):
        await emitter.publish(messages(), None, 0)
    internals(emitter)._txn_manager.fatal_error(ProducerFenced())
    await emitter.close()
    del emitter
    gc.collect()
    assert lost == []
