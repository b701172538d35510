"""Questions to a cluster of three brokers, some of which have just died."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.structs import BrokerMetadata

from runtime.errors import UnreachableError
from runtime.kafka_admin import create_topics
from runtime.kafka_asking import Admin, ask_any

NODES: Final = (1, 2, 3)

Answer = Callable[[int, Any], Any]
"""What a broker says to a request."""


@pytest.fixture
async def admin(monkeypatch: pytest.MonkeyPatch) -> Admin:
    made = Admin(request_timeout_ms=1_000, retry_backoff_ms=1)
    brokers = {node: BrokerMetadata(node, "127.0.0.1", 1, None) for node in NODES}
    monkeypatch.setattr(made._client.cluster, "_brokers", brokers)
    return made


def answering(monkeypatch: pytest.MonkeyPatch, client: AIOKafkaClient, answer: Answer) -> list[int]:
    """Have brokers answer so; return who was asked."""
    asked: list[int] = []

    async def send(node: int, request: Any, **_: Any) -> Any:
        asked.append(node)
        said = answer(node, request)
        if isinstance(said, Exception):
            raise said
        return said

    monkeypatch.setattr(client, "send", send)
    return asked


@pytest.mark.parametrize("gone", [NodeNotReadyError(), KafkaConnectionError()])
async def test_a_dead_broker_is_passed_over(admin: Admin, monkeypatch: pytest.MonkeyPatch, gone: Exception) -> None:
    asked = answering(monkeypatch, admin._client, lambda node, _: "here" if node == 3 else gone)
    for _ in range(20):
        assert await ask_any(admin._client, MetadataRequest()) == "here"
        assert await admin._send_request(MetadataRequest()) == "here"
    assert set(asked) == set(NODES)


async def test_where_all_are_gone_it_is_said(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, admin._client, lambda *_: KafkaConnectionError("gone"))
    with pytest.raises(KafkaConnectionError, match="gone"):
        await ask_any(admin._client, MetadataRequest())
    assert sorted(asked) == [1, 2, 3]


async def test_where_none_is_known_they_are_asked_for(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = admin._client.cluster
    learned = iter([{}, dict(cluster._brokers)])

    async def learn() -> bool:
        monkeypatch.setattr(cluster, "_brokers", next(learned))
        return True

    monkeypatch.setattr(cluster, "_brokers", {})
    monkeypatch.setattr(admin._client, "force_metadata_update", learn)
    answering(monkeypatch, admin._client, lambda *_: "here")
    async with asyncio.timeout(1):
        assert await ask_any(admin._client, MetadataRequest()) == "here"


async def test_where_none_is_known_for_long_it_is_said(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    async def learn() -> bool:
        return False

    monkeypatch.setattr(admin._client, "_request_timeout_ms", 20)
    monkeypatch.setattr(admin._client.cluster, "_brokers", {})
    monkeypatch.setattr(admin._client, "force_metadata_update", learn)
    with pytest.raises(NodeNotReadyError, match="no broker is known"):
        await ask_any(admin._client, MetadataRequest())


async def test_the_controller_is_looked_up_again_where_it_died(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    controllers = iter((1, 2, 3))

    async def learn() -> bool:
        node = next(controllers)
        monkeypatch.setattr(admin._client.cluster, "controller", BrokerMetadata(node, "127.0.0.1", 1, None))
        return True

    monkeypatch.setattr(admin._client, "force_metadata_update", learn)
    asked = answering(monkeypatch, admin._client, lambda node, _: "made" if node == 3 else NodeNotReadyError())
    async with asyncio.timeout(1):
        assert await admin._send_to_controller(MetadataRequest()) == "made"
    assert asked == [1, 2, 3]


async def test_a_controller_that_stays_away_is_not_waited_for_without_a_limit(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def learn() -> bool:
        return False

    admin._request_timeout_ms = 20
    monkeypatch.setattr(admin._client, "force_metadata_update", learn)
    monkeypatch.setattr(admin._client.cluster, "controller", BrokerMetadata(1, "127.0.0.1", 1, None))
    answering(monkeypatch, admin._client, lambda *_: NodeNotReadyError("away"))
    with pytest.raises(NodeNotReadyError, match="away"):
        await admin._send_to_controller(MetadataRequest())
    monkeypatch.setattr(admin._client.cluster, "controller", None)
    with pytest.raises(UnreachableError, match="no controller just now"):
        await create_topics(admin, [("raw", 1, 1, {})])
