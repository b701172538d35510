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
)
from aiokafka.protocol.commit import OffsetFetchResponse_v1, OffsetFetchResponse_v3

from runtime.errors import UnreachableError
from runtime.kafka_admin import committed_offsets, create_topics, group_state

TOLD = [("raw", [(0, 7, "mark", 0), (1, -1, "", 0), (2, 9, None, 0)])]
WITHHELD = [("raw", [(0, -1, "", TopicAuthorizationFailedError.errno)])]


class Admin:
    """An admin client whose every question gets one answer."""

    def __init__(self, answer: Any) -> None:
        async def force_metadata_update() -> None:
            """Learn nothing."""

        self._answer = answer
        self._client = SimpleNamespace(
            cluster=SimpleNamespace(controller=None), force_metadata_update=force_metadata_update
        )

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


async def test_brokers_without_a_controller_cannot_make_topics_just_now() -> None:
    with pytest.raises(UnreachableError, match="no controller"):
        await create_topics(Admin(None), [("raw", 1, 1, {})])
