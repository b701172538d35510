"""What the topics should be, what they are, and the way from one to the other.

A partition count never changes: every shipment's place depends on it.
"""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec

from runtime import kafka_admin
from runtime.errors import SetupError
from runtime.kafka import admin_client
from runtime.kafka_admin import FoundTopic
from runtime.settings import Settings, min_insync_replicas
from schemas.topics import TOPICS, TopicSpec

VISIBLE_SECONDS: Final = 10.0
"""How long new topics may take until every broker names them. Normally well under a second."""

_POLL_SECONDS: Final = 0.1

PARTITIONS: Final = "partitions"
REPLICATION_FACTOR: Final = "replication factor"
MIN_INSYNC: Final = "min.insync.replicas"
_FIXED: Final = (PARTITIONS, REPLICATION_FACTOR)

ANY_TIME: Final = str(2**63 - 1)
"""How far a record's timestamp may be from the broker's clock, in milliseconds: as far as it likes. Kafka's own limit
is an hour ahead."""


class WantedTopic(msgspec.Struct, frozen=True):
    """A topic as it should be. `configs` are Kafka's, by name."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


class TopicDifference(msgspec.Struct, frozen=True):
    """What is not as it should be: a topic that is missing (`found` is None), or one of its properties."""

    topic: str
    property: str
    wanted: str
    found: str | None

    def __str__(self) -> str:
        """Say it in a line."""
        if self.found is None:
            return f"{self.topic}: missing"
        return f"{self.topic}: {self.property} is {self.found}, should be {self.wanted}"


class TopicChanges(msgspec.Struct, frozen=True):
    """What `apply` did, and what it may not mend."""

    created: tuple[str, ...]
    altered: tuple[TopicDifference, ...]
    left: tuple[TopicDifference, ...]


def wanted_topics(settings: Settings) -> tuple[WantedTopic, ...]:
    """Return the topics as the settings want them."""
    return tuple(
        WantedTopic(
            settings.topic(spec.topic),
            settings.topic_partitions,
            settings.topic_replication_factor,
            _configs(spec, settings),
        )
        for spec in TOPICS
    )


def differences(wanted: Iterable[WantedTopic], found: Mapping[str, FoundTopic]) -> tuple[TopicDifference, ...]:
    """Compare topics by what is in force, wherever Kafka has it from."""
    return tuple(difference for topic in wanted for difference in _compare(topic, found.get(topic.name)))


async def check(settings: Settings) -> tuple[TopicDifference, ...]:
    """Return how the topics differ from what the settings want.

    Raises:
        SetupError: Kafka cannot be reached, or refuses to tell.

    """
    async with admin_client(settings) as admin:
        return await _check(admin, wanted_topics(settings))


async def apply(settings: Settings) -> TopicChanges:
    """Create the topics that are missing and set the configs that drifted. Doing it again does nothing.

    Raises:
        SetupError: Kafka cannot be reached, or refuses.

    """
    wanted = wanted_topics(settings)
    async with admin_client(settings) as admin:
        before = await _check(admin, wanted)
        missing = {difference.topic for difference in before if difference.found is None}
        altered = tuple(d for d in before if d.found is not None and d.property not in _FIXED)
        if missing:
            await kafka_admin.create_topics(
                admin,
                [
                    (topic.name, topic.partitions, topic.replication_factor, topic.configs)
                    for topic in wanted
                    if topic.name in missing
                ],
            )
        if altered:
            await kafka_admin.set_configs(admin, _by_topic(altered))
        left = await _settled(admin, wanted) if missing or altered else before
    return TopicChanges(tuple(topic.name for topic in wanted if topic.name in missing), altered, left)


async def _check(admin: Any, wanted: tuple[WantedTopic, ...]) -> tuple[TopicDifference, ...]:
    configs = sorted({name for topic in wanted for name in topic.configs})
    return differences(wanted, await kafka_admin.find_topics(admin, [topic.name for topic in wanted], configs))


async def _settled(admin: Any, wanted: tuple[WantedTopic, ...]) -> tuple[TopicDifference, ...]:
    """Wait until the brokers show what was done, and return what differs still."""
    deadline = asyncio.get_running_loop().time() + VISIBLE_SECONDS
    while True:
        left = await _check(admin, wanted)
        pending = [difference for difference in left if difference.property not in _FIXED]
        if not pending:
            return left
        if asyncio.get_running_loop().time() > deadline:
            raise SetupError(f"after {VISIBLE_SECONDS:.0f} s Kafka still shows: {pending[0]}")
        await asyncio.sleep(_POLL_SECONDS)


def _by_topic(altered: Iterable[TopicDifference]) -> dict[str, dict[str, str]]:
    configs: dict[str, dict[str, str]] = {}
    for difference in altered:
        configs.setdefault(difference.topic, {})[difference.property] = difference.wanted
    return configs


def _configs(spec: TopicSpec, settings: Settings) -> dict[str, str]:
    configs = {
        MIN_INSYNC: str(min_insync_replicas(settings.topic_replication_factor)),
        "unclean.leader.election.enable": "false",
        # A record's timestamp is ours: the time received. The brokers take it whatever either clock says: one that they
        # refused could never be appended, though the courier was told 200 or the event stands in the database.
        "message.timestamp.type": "CreateTime",
        "message.timestamp.after.max.ms": ANY_TIME,
        "message.timestamp.before.max.ms": ANY_TIME,
        # What is stored must be publishable: by itself, and as a batch.
        "max.message.bytes": str(settings.max_message_bytes),
    }
    if spec.retention is None:
        configs["cleanup.policy"] = "compact"
    else:
        configs["cleanup.policy"] = "delete"
        configs["retention.ms"] = str(spec.retention // timedelta(milliseconds=1))
        # Kept by time alone, whatever the brokers' default size is.
        configs["retention.bytes"] = "-1"
    return configs


def _compare(wanted: WantedTopic, found: FoundTopic | None) -> Iterable[TopicDifference]:
    if found is None:
        yield TopicDifference(wanted.name, "topic", wanted.name, None)
        return
    # More copies in sync than a topic has would stop every write to it: its own factor counts.
    configs = {**wanted.configs, MIN_INSYNC: str(min_insync_replicas(found.replication_factor))}
    facts = {
        PARTITIONS: (wanted.partitions, found.partitions),
        REPLICATION_FACTOR: (wanted.replication_factor, found.replication_factor),
        **{name: (value, found.configs.get(name, "unknown")) for name, value in configs.items()},
    }
    for name, (should, is_) in facts.items():
        if str(should) != str(is_):
            yield TopicDifference(wanted.name, name, str(should), str(is_))
