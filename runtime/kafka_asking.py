"""Questions to a cluster of which a broker may just have died. Reaches into aiokafka 0.14.

Until the others miss it, for seconds, a dead broker stands in the list of all. aiokafka's admin client asks one of that
list at random, and asks the controller it knew until its time is over, whoever is the controller by then.
"""

import asyncio
import random
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaConnectionError, NodeNotReadyError, NotControllerError, RequestTimedOutError
from aiokafka.protocol.api import Request

GONE: Final = (KafkaConnectionError, NodeNotReadyError, RequestTimedOutError)
"""What says that a broker is away, before it was asked or after."""


async def ask_any(client: AIOKafkaClient, request: Request[Any]) -> Any:
    """Return the answer of whichever broker gives one.

    Raises:
        KafkaError: none does.

    """
    nodes, gone = await _known_brokers(client), None
    for node in random.sample(nodes, len(nodes)):
        try:
            return await client.send(node, request)
        except GONE as error:
            gone = error
    assert gone is not None, "a broker was asked"
    raise gone


async def _known_brokers(client: AIOKafkaClient) -> list[int]:
    """Return the brokers' ids. A broker that has just started, or has just been missed, may at first name none.

    Raises:
        NodeNotReadyError: none is named in time.

    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + client._request_timeout_ms / 1000
    while not (brokers := client.cluster.brokers()):
        if loop.time() > deadline:
            raise NodeNotReadyError("no broker is known")
        await client.force_metadata_update()
        await asyncio.sleep(client._retry_backoff)
    return [broker.nodeId for broker in brokers]


class Admin(AIOKafkaAdminClient):  # type: ignore[misc]
    """An admin client that asks another broker where one is away.

    A request whose answer got lost is sent again: only such may be asked of which the second does nothing more.
    """

    async def _send_request(self, request: Request[Any], node_id: int | None = None) -> Any:
        if node_id is not None:
            return await super()._send_request(request, node_id)
        return await ask_any(self._client, request)

    async def _send_to_controller(self, request: Request[Any]) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._request_timeout_ms / 1000
        while True:
            try:
                if (controller := self._client.cluster.controller) is None:
                    raise NotControllerError("the brokers have no controller just now")
                return await self._client.send(controller.nodeId, request)
            except (*GONE, NotControllerError):
                if loop.time() > deadline:
                    raise
            await self._client.force_metadata_update()
            await asyncio.sleep(self._client._retry_backoff)
