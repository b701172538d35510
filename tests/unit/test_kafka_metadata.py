"""How often a client asks for metadata, and that asking makes no topic."""

import asyncio
from importlib import import_module
from typing import Any

import aiokafka.admin.client
import aiokafka.client
import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataRequest_v4, MetadataRequest_v5
from hypothesis import given
from hypothesis import strategies as st

from runtime import kafka_metadata
from runtime.kafka_metadata import BURST, EVERY_SECONDS, RateLimiter


def test_clients_ask_with_care_as_soon_as_there_may_be_one() -> None:
    assert import_module("runtime.kafka")
    assert AIOKafkaClient._metadata_update is kafka_metadata._ask_in_turn


@given(st.lists(st.floats(0, 3), max_size=80))
def test_never_more_than_a_burst_and_its_pace(gaps: list[float]) -> None:
    now, pace, turns = 100.0, RateLimiter(100.0), []
    for gap in gaps:
        now += gap
        wait = pace.wait(now)
        now += wait  # who waits asks again only afterwards
        turns.append(now)
    for first in range(len(turns)):
        for last in range(first, len(turns)):
            allowed = BURST + 1 + (turns[last] - turns[first]) / EVERY_SECONDS
            assert last - first + 1 <= allowed + 1e-6


def test_who_asks_seldom_never_waits() -> None:
    pace = RateLimiter(0.0)
    assert [pace.wait(at * EVERY_SECONDS * 1.01) for at in range(1000)] == [0.0] * 1000


async def test_a_client_without_a_broker_does_not_spin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_metadata, "EVERY_SECONDS", 0.05)
    client, asked = AIOKafkaClient(bootstrap_servers="127.0.0.1:1"), 0

    async def ask() -> None:
        nonlocal asked
        while True:
            assert await client._metadata_update(client.cluster, ["topic"]) is False
            asked += 1

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(), 0.5)
    assert 0 < asked <= BURST + 1 + 0.5 / 0.05
    await client.close()


@pytest.mark.parametrize("version", [MetadataRequest_v4, MetadataRequest_v5])
@pytest.mark.parametrize("topics", [None, [], ["raw"]])
def test_no_question_makes_a_topic(version: Any, topics: list[str] | None) -> None:
    for module in (aiokafka.client, aiokafka.admin.client):
        asked = module.MetadataRequest(topics).build(version)
        assert asked.allow_auto_topic_creation is False
        assert asked.topics == topics
