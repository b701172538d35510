"""The brokers' clock, and how far this machine's is off from it.

Kafka has no question for the time. What comes nearest is DescribeQuorum (API 55, from Kafka 3.3 on): of the leader of
the brokers' metadata quorum it says when it was last caught up, which is now, by that leader's own clock (KIP-836).
It needs the permission to describe the cluster.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, NoError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields

from runtime import kafka
from runtime.errors import DeniedError, SetupError, UnreachableError
from runtime.kafka_asking import ask_any
from runtime.kafka_denials import DENIALS
from runtime.settings import Settings

ANSWER_SECONDS: Final = 3.0
"""How long the brokers may take to tell the time. They take milliseconds."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_QUORUM: Final = ("__cluster_metadata", 0)


class Comparison(msgspec.Struct, frozen=True):
    """What the brokers' clock said, and what this machine's said before and after the question."""

    before: datetime
    theirs: datetime
    after: datetime

    @property
    def ahead(self) -> timedelta:
        """How far this machine's clock is ahead of the brokers', at least; negative: behind."""
        if self.theirs < self.before:
            return self.before - self.theirs
        return min(self.after - self.theirs, timedelta(0))


class _QuorumResponse(Response):  # type: ignore[misc]
    API_KEY = 55
    API_VERSION = 1
    _REPLICAS = CompactArray(
        ("replica_id", Int32),
        ("log_end_offset", Int64),
        ("last_fetch_timestamp", Int64),
        ("last_caught_up_timestamp", Int64),
        ("tags", TaggedFields),
    )
    SCHEMA = Schema(
        ("error_code", Int16),
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                (
                    "partitions",
                    CompactArray(
                        ("partition", Int32),
                        ("error_code", Int16),
                        ("leader_id", Int32),
                        ("leader_epoch", Int32),
                        ("high_watermark", Int64),
                        ("current_voters", _REPLICAS),
                        ("observers", _REPLICAS),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _QuorumStruct(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 55
    API_VERSION = 1
    RESPONSE_TYPE = _QuorumResponse
    SCHEMA = Schema(
        (
            "topics",
            CompactArray(
                ("topic", CompactString("utf-8")),
                ("partitions", CompactArray(("partition", Int32), ("tags", TaggedFields))),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _QuorumRequest(Request[_QuorumStruct]):  # type: ignore[misc]
    """DescribeQuorum, which aiokafka lacks."""

    API_KEY = 55

    def build(self, request_struct_class: type[_QuorumStruct]) -> _QuorumStruct:
        topic, partition = _QUORUM
        return request_struct_class([(topic, [(partition, {})], {})], {})


def _now() -> datetime:
    return datetime.now(UTC)


async def compare_clocks(client: AIOKafkaClient, now: Callable[[], datetime] = _now) -> Comparison:
    """Ask the brokers for the time, between two looks at the clock `now`.

    Raises:
        DeniedError: they do not tell it to us: `deploy/kafka-acls.sh` allows it.
        UnreachableError: they do not answer, or have no such answer.

    """
    before = now()
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            response = await ask_any(client, _QuorumRequest())
    except TimeoutError as error:
        raise UnreachableError(f"the brokers do not tell the time within {ANSWER_SECONDS:.0f} s") from error
    except (IncompatibleBrokerVersion, NotImplementedError) as error:
        raise UnreachableError(
            "the brokers are too old to tell the time: Kafka does from 3.3 on, with KRaft"
        ) from error
    except KafkaError as error:
        raise UnreachableError(f"the brokers do not tell the time: {error or repr(error)}") from error
    return Comparison(before, _time_in(response), now())


async def clocks(settings: Settings) -> Comparison:
    """Compare this machine's clock with the brokers', over a connection of its own. Raises as `compare_clocks` does."""
    async with kafka.admin_client(settings) as admin:
        return await compare_clocks(admin._client)


def _time_in(response: Any) -> datetime:
    partitions = [partition for _, of_topic, _ in response.topics for partition in of_topic]
    codes = [response.error_code, *(partition[1] for partition in partitions)]
    for code in codes:
        error = for_code(code)
        if error in DENIALS:
            raise DeniedError("Kafka does not tell us the time: it takes the permission to describe the cluster")
        if error is not NoError:
            raise UnreachableError(f"the brokers do not tell the time: {error.description or error.__name__}")
    for _, _, leader, _, _, voters, _, _ in partitions:
        for replica, _, _, caught_up, _ in voters:
            if replica == leader and caught_up > 0:
                return _EPOCH + timedelta(milliseconds=caught_up)
    raise SetupError("the brokers' answer does not tell the time")
