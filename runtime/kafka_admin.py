"""Reading and writing topics through aiokafka's admin client."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidReplicationFactorError,
    KafkaError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.commit import OffsetFetchRequest
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

from runtime.errors import SetupError, UnreachableError

ANSWER_SECONDS: Final = 30.0
"""How long one question to the brokers may take, with the client's own retries."""

_SET: Final = 0
"""IncrementalAlterConfigs' operation that sets a value."""


class FoundTopic(msgspec.Struct, frozen=True):
    """A topic as Kafka has it. The replication factor is its thinnest partition's."""

    partitions: int
    replication_factor: int
    configs: Mapping[str, str]


class _AlterResponse(Response):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "resources",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class _AlterStruct(RequestStruct):  # type: ignore[misc]
    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = _AlterResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "config_entries",
                    Array(
                        ("config_name", String("utf-8")),
                        ("operation", Int8),
                        ("config_value", String("utf-8")),
                    ),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class _AlterRequest(Request[_AlterStruct]):  # type: ignore[misc]
    """IncrementalAlterConfigs, which aiokafka lacks. Its AlterConfigs would drop every config it does not name."""

    API_KEY = 44

    def __init__(self, resources: list[tuple[int, str, list[tuple[str, int, str]]]]) -> None:
        self._resources = resources

    def build(self, request_struct_class: type[_AlterStruct]) -> _AlterStruct:
        return request_struct_class(self._resources, False)


async def find_topics(admin: Any, names: Iterable[str], configs: list[str]) -> dict[str, FoundTopic]:
    """Look at topics: those that exist, with the named configs as they are in force.

    A topic that one of two brokers does not know (yet) does not exist (yet).

    Raises:
        SetupError: Kafka cannot be reached, or refuses.

    """
    sought = set(names)
    async with _answering("describe the topics"):
        # All topics are listed: asking for one by name may create it.
        listed = {topic["topic"]: topic for topic in await admin.describe_topics()}
        existing = sorted(sought & listed.keys())
        if existing and configs:
            values = await _configs(admin, existing, configs)
            existing = [name for name in existing if name in values]
        else:
            values = {}
    return {
        name: FoundTopic(
            len(listed[name]["partitions"]),
            min((len(partition["replicas"]) for partition in listed[name]["partitions"]), default=0),
            values.get(name, {}),
        )
        for name in existing
    }


async def committed_offsets(
    admin: Any, group: str, topic: str, partitions: Iterable[int]
) -> dict[int, tuple[int, str]]:
    """Return what a group has committed, by partition: offset and metadata. Where it has nothing, there is no entry.

    aiokafka's own question takes a coordinator's error for a group that has committed nothing.

    Raises:
        KafkaError: the group's coordinator cannot say it, or not just now.

    """
    asked = OffsetFetchRequest(group, [(topic, list(partitions))])
    response = await admin._send_request(asked, await admin.find_coordinator(group))
    if code := getattr(response, "error_code", 0):  # protocols before version 2 have it at the partitions alone
        raise for_code(code)(f"the offsets of {group} are not told")
    found = {}
    for _, parts in response.topics:
        for partition, offset, metadata, code in parts:
            if code:
                raise for_code(code)(f"the offset of {group} in {topic}-{partition} is not told")
            if offset >= 0:
                found[partition] = offset, metadata or ""
    return found


async def group_state(admin: Any, group: str) -> tuple[str, int]:
    """Return a consumer group's state in Kafka's word, and how many members it has.

    Raises:
        KafkaError: the group's coordinator cannot say it, or not just now.

    """
    (response,) = await admin.describe_consumer_groups([group])
    ((code, _, state, _, _, members, *_),) = response.groups
    if code:
        raise for_code(code)(f"the group {group} is not described")
    return state, len(members)


async def broker_config(admin: Any, brokers: Iterable[int], name: str) -> dict[int, str | None]:
    """Return a config of brokers as it is in force, by their number; None where we may not see it.

    Raises:
        SetupError: Kafka cannot be reached.

    """
    resources = [ConfigResource(ConfigResourceType.BROKER, str(each), {name: ""}) for each in brokers]
    async with _answering("describe the brokers' configs"):
        responses = await admin.describe_configs(resources)
    return {
        int(broker): None if code else next((entry[1] for entry in entries if entry[0] == name), None)
        for response in responses
        for code, _, _, broker, entries in response.resources
    }


async def create_topics(admin: Any, topics: Iterable[tuple[str, int, int, Mapping[str, str]]]) -> None:
    """Create topics: name, partitions, replication factor, configs. One that exists by now is left alone.

    Raises:
        SetupError: Kafka cannot be reached, or refuses.

    """
    async with _answering("create the topics"):
        response = await admin.create_topics(
            [NewTopic(name, count, factor, topic_configs=dict(configs)) for name, count, factor, configs in topics]
        )
    for name, code, message, *_ in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            hint = " (WAYBILL_TOPIC_REPLICATION_FACTOR)" if code == InvalidReplicationFactorError.errno else ""
            raise SetupError(f"Kafka does not create {name}: {message or for_code(code).description}{hint}")


async def set_configs(admin: Any, configs: Mapping[str, Mapping[str, str]]) -> None:
    """Set topics' configs, by topic and name. Others of theirs stay.

    Raises:
        SetupError: Kafka cannot be reached, or refuses.

    """
    request = _AlterRequest(
        [
            (int(ConfigResourceType.TOPIC), topic, [(name, _SET, value) for name, value in values.items()])
            for topic, values in configs.items()
        ]
    )
    async with _answering("alter the topics' configs"):
        response = await admin._send_to_controller(request)
    for code, message, _, name in response.resources:
        if code != 0:
            raise SetupError(f"Kafka does not alter {name}: {message or for_code(code).description}")


async def _configs(admin: Any, topics: list[str], configs: list[str]) -> dict[str, dict[str, str]]:
    responses = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(configs, "")) for name in topics]
    )
    found: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, message, _, name, entries in response.resources:
            if code == UnknownTopicOrPartitionError.errno:
                continue  # new topics become known to one broker after the other
            if code != 0:
                raise SetupError(f"Kafka does not describe {name}: {message or for_code(code).description}")
            found[name] = {entry[0]: entry[1] for entry in entries}
    return found


@asynccontextmanager
async def _answering(deed: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            yield
    except TimeoutError as error:
        raise UnreachableError(f"Kafka does not {deed} within {ANSWER_SECONDS:.0f} s") from error
    except KafkaError as error:
        raise UnreachableError(f"Kafka does not {deed}: {error}") from error
