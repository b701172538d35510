"""What brokers answer with an error is an error, and not an answer of nothing."""

from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import (
    CoordinatorLoadInProgressError,
    GroupAuthorizationFailedError,
    GroupCoordinatorNotAvailableError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)
from aiokafka.protocol.commit import OffsetFetchResponse_v1, OffsetFetchResponse_v3

from runtime.kafka_admin import FoundTopic, committed_offsets, find_topics, group_state

TOLD = [("raw", [(0, 7, "mark", 0), (1, -1, "", 0), (2, 9, None, 0)])]
WITHHELD = [("raw", [(0, -1, "", TopicAuthorizationFailedError.errno)])]


class Admin:
    """An admin client whose every question gets one answer."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def find_coordinator(self, _: str) -> int:
        return 1

    async def _send_request(self, *_: Any) -> Any:
        return self._answer

    async def describe_consumer_groups(self, _: list[str]) -> list[Any]:
        return [SimpleNamespace(groups=[self._answer])]


@pytest.mark.parametrize("answer", [OffsetFetchResponse_v1(TOLD), OffsetFetchResponse_v3(0, TOLD, 0)])
async def test_committed_offsets_are_told(answer: Any) -> None:
    assert await committed_offsets(Admin(answer), "group", "raw", [0, 1, 2]) == {0: (7, "mark"), 2: (9, "")}


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (OffsetFetchResponse_v1(WITHHELD), TopicAuthorizationFailedError),
        (OffsetFetchResponse_v3(0, WITHHELD, 0), TopicAuthorizationFailedError),
        (OffsetFetchResponse_v3(0, [], CoordinatorLoadInProgressError.errno), CoordinatorLoadInProgressError),
        (OffsetFetchResponse_v3(0, [], GroupAuthorizationFailedError.errno), GroupAuthorizationFailedError),
    ],
)
async def test_offsets_that_are_not_told_are_not_taken_for_none(answer: Any, error: type[KafkaError]) -> None:
    with pytest.raises(error, match="group"):
        await committed_offsets(Admin(answer), "group", "raw", [0])


async def test_a_group_is_described_or_it_is_said_why_not() -> None:
    assert await group_state(Admin((0, "group", "Stable", "consumer", "range", ["a", "b"], 0)), "group") == (
        "Stable",
        2,
    )
    unknown: Any = (GroupCoordinatorNotAvailableError.errno, "group", "", "", "", [], 0)
    with pytest.raises(GroupCoordinatorNotAvailableError):
        await group_state(Admin(unknown), "group")


async def test_a_topic_that_one_broker_does_not_know_yet_does_not_exist_yet() -> None:
    """New topics become known to one broker after the other: one lists it, another has no configs of it."""
    known = SimpleNamespace(resources=[(0, None, 2, "old", [("retention.ms", "7")])])
    unknown = SimpleNamespace(resources=[(UnknownTopicOrPartitionError.errno, "not here", 2, "new", [])])

    class Cluster:
        async def describe_topics(self) -> list[Any]:
            return [{"topic": name, "partitions": [{"replicas": [1, 2, 3]}]} for name in ("old", "new")]

        async def describe_configs(self, _: Any) -> list[Any]:
            return [known, unknown]

    found = await find_topics(Cluster(), ["old", "new"], ["retention.ms"])
    assert found == {"old": FoundTopic(1, 3, {"retention.ms": "7"})}
