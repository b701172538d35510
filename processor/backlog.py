"""Looks at the log again and again for what waits in the partitions of this process, whatever their workers do.

A worker that claims, or stands still, fetches nothing: what it saw last grows old. And a process whose workers all
stand still would leave the group if it were not kept a member here.
"""

import asyncio
from collections.abc import Collection, Mapping
from time import time
from typing import Final, Never

import structlog
from aiokafka import TopicPartition

from processor.group import Group
from processor.partition.shared import Shared
from processor.partition.standing import Standing
from processor.protocol.backlog import Oldest
from runtime import kafka, kafka_admin
from runtime.errors import UnreachableError
from runtime.kafka import KAFKA_ERRORS
from runtime.kafka_types import Consumer

LOOK_SECONDS: Final = 2.0
"""How often: two small questions to each broker."""

ANSWER_SECONDS: Final = 10.0
"""How long an answer may take, and the oldest records to be read. Milliseconds when all is well."""

log = structlog.get_logger(__name__)

Places = Mapping[TopicPartition, Standing]


async def watch(shared: Shared, group: Group) -> Never:
    """Look until cancelled. While Kafka is away the newest look counts; `Health` tells that it is."""
    said = ""
    while True:
        kafka.stay_member(shared.consumer)
        try:
            await _look_on(shared, group)
        except (UnreachableError, *KAFKA_ERRORS):
            pass
        except Exception as error:
            if repr(error) != said:
                log.exception("backlog not seen")
            said = repr(error)
        await asyncio.sleep(LOOK_SECONDS)


async def _look_on(shared: Shared, group: Group) -> Never:
    reader = kafka.new_reader(shared.settings, "waybill-backlog")
    await kafka.start(reader)
    try:
        while True:
            kafka.stay_member(shared.consumer)
            places = {
                TopicPartition(shared.stream.raw_topic, each.standing.partition): each.standing
                for each in group.workers
            }
            if places:
                await _look(shared, reader, places)
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        await kafka.stop(reader, kafka.GIVE_UP_SECONDS)


async def _look(shared: Shared, reader: Consumer, places: Places) -> None:
    async with asyncio.timeout(ANSWER_SECONDS):
        starts, ends = await reader.beginning_offsets(places), await reader.end_offsets(places)
        await _begin(shared, [each for each in places.values() if each.waiting.next_offset is None])
    for place, standing in places.items():
        standing.waiting.log_is(starts[place], ends[place], time())
    unread = {
        place: standing for place, standing in places.items() if not standing.working and standing.waiting.needs_a_look
    }
    if unread:
        await _read_oldest(reader, unread)


async def _begin(shared: Shared, standings: Collection[Standing]) -> None:
    """Take what is published for what is applied until the first claim knows better: it is the same but for moments."""
    if not standings:
        return
    group, topic = shared.stream.consumer_group, shared.stream.raw_topic
    committed = await kafka_admin.committed_offsets(shared.admin, group, topic, [each.partition for each in standings])
    for standing in standings:
        if standing.waiting.next_offset is None and standing.partition in committed:
            standing.waiting.next_offset, _ = committed[standing.partition]


async def _read_oldest(reader: Consumer, places: Places) -> None:
    """Read since when the oldest record waits. Of one that cannot be read it stays unknown."""
    reader.assign(list(places))
    for place, standing in places.items():
        reader.seek(place, standing.waiting.first)
    left = set(places)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while left:
                for place, (record, *_) in (await reader.getmany(timeout_ms=200, max_records=1)).items():
                    left.discard(place)
                    reader.pause(place)
                    waiting = places[place].waiting
                    if record.offset >= waiting.first:
                        waiting.oldest = Oldest(waiting.first, record.timestamp / 1000)
    except TimeoutError:
        pass
    finally:
        reader.pause(*places)
