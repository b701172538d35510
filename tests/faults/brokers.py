"""Three brokers: who leads what, and what can be done to them."""

import asyncio
import random
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import Any

from devstack import KafkaCluster
from runtime.kafka import admin_client
from runtime.kafka_admin import set_configs
from runtime.kafka_asking import Admin
from runtime.settings import Settings
from runtime.topics import MIN_INSYNC
from schemas.topics import Topic


class Role(StrEnum):
    """What one of the brokers does for all."""

    GROUP = "the processors' group"
    TRANSACTIONS = "a partition's transactions"
    RAW = "a partition of the raw topic"
    EVENTS = "a partition of the events"


async def described(settings: Settings, topic: Topic) -> list[dict[str, Any]]:
    """Return a topic's partitions, in order: each with its leader, below 0 where there is none, and its copies."""
    async with admin_client(settings) as admin:
        (found,) = await admin.describe_topics([settings.topic(topic)])
    return sorted(found["partitions"], key=lambda each: int(each["partition"]))


async def roles(settings: Settings) -> dict[int, list[Role]]:
    """Return what each broker does just now, as often as it does it."""
    found: dict[int, list[Role]] = {}
    async with admin_client(settings) as admin:
        found.setdefault(await admin.find_coordinator(settings.group_id), []).append(Role.GROUP)
        for partition in range(settings.topic_partitions):
            node = await admin.find_coordinator(settings.transactional_id(partition), 1)
            found.setdefault(node, []).append(Role.TRANSACTIONS)
    for topic, role in ((Topic.RAW, Role.RAW), (Topic.EVENTS, Role.EVENTS)):
        for each in await described(settings, topic):
            found.setdefault(each["leader"], []).append(role)
    return found


async def busiest(settings: Settings) -> int:
    """Return the broker that does most."""
    found = await roles(settings)
    return max(found, key=lambda node: len(found[node]))


async def one_with(settings: Settings, role: Role, chance: random.Random) -> int:
    """Return a broker that has a role."""
    return chance.choice(sorted(node for node, has in (await roles(settings)).items() if role in has))


@asynccontextmanager
async def away(cluster: KafkaCluster, nodes: Collection[int]) -> AsyncIterator[None]:
    """Kill brokers; they are back, side by side, afterwards."""
    await asyncio.gather(*(cluster.brokers[node].kill() for node in nodes))
    try:
        yield
    finally:
        await asyncio.gather(*(cluster.brokers[node].restart() for node in nodes))


async def need_in_sync(settings: Settings, copies: int) -> None:
    """Have every topic take a write only with so many copies."""
    async with admin_client(settings) as admin:
        await set_configs(admin, {settings.topic(topic): {MIN_INSYNC: str(copies)} for topic in Topic})


async def whole(settings: Settings, admin: Admin) -> bool:
    """Whether every copy of every topic is in sync."""
    found = await admin.describe_topics([settings.topic(topic) for topic in Topic])
    return all(
        each["leader"] >= 0 and len(each["isr"]) == len(each["replicas"])
        for topic in found
        for each in topic["partitions"]
    )
