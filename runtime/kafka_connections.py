"""Connections to brokers that end with their client, and a client that lives until it is closed. Reaches into aiokafka.

aiokafka's own client loses a connection, which stays open until the garbage collector finds it, in three cases: its
start is cancelled, or out of time, between the first connection and the answer on it; a task opens one after the client
was closed; one is looked up between the broker's closing it and the client's noticing.

And it asks for leaders no more once an answer, or a request on a connection that has just ended, has raised an error
that aiokafka did not expect. Such a client stays with the leaders it knew, for ever, and raises that error when closed.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, cast

import aiokafka.client
import structlog
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason, create_conn
from aiokafka.errors import KafkaConnectionError, KafkaError

log = structlog.get_logger(__name__)

OnClose = Callable[[AIOKafkaConnection, CloseReason | None], None]


class OwningClient(AIOKafkaClient):  # type: ignore[misc]
    """A client that knows every connection it has opened until that is closed."""

    opened: set[AIOKafkaConnection]
    ended: bool

    async def bootstrap(self) -> None:
        """Find the brokers."""
        with _opening_for(self):
            await super().bootstrap()

    async def close(self) -> None:
        """Close every connection and wait until they are. None can be opened from now on."""
        self.ended = True
        # Closing waits for nothing, so that no cancellation comes between.
        closing = [connection.close(reason=CloseReason.SHUTDOWN) for connection in tuple(self.opened)]
        await super().close()
        if closing:
            await asyncio.wait(closing)

    async def _md_synchronizer(self) -> None:
        while True:
            try:
                await super()._md_synchronizer()
            except Exception:
                log.exception("kafka leaders are asked for again")

    async def _get_conn(self, *arguments: Any, **options: Any) -> AIOKafkaConnection | None:
        with _opening_for(self):
            return await super()._get_conn(*arguments, **options)


def own_connections(client: AIOKafkaClient) -> None:
    """Make a client that has not started yet own its connections. The producer or consumer above has made it."""
    client.__class__ = OwningClient
    owner = cast("OwningClient", client)
    owner.opened, owner.ended = set(), False


_owner: Final[ContextVar[OwningClient | None]] = ContextVar("owner", default=None)


@contextmanager
def _opening_for(client: OwningClient) -> Iterator[None]:
    token = _owner.set(client)
    try:
        yield
    finally:
        _owner.reset(token)


async def _create_conn(host: str, port: int, *, on_close: OnClose | None = None, **options: Any) -> AIOKafkaConnection:
    """Open a connection as aiokafka does, for the client that is asking for one."""
    owner = _owner.get()
    if owner is None:
        return await create_conn(host, port, on_close=on_close, **options)

    def closed(connection: AIOKafkaConnection, reason: CloseReason | None) -> None:
        owner.opened.discard(connection)
        if on_close is not None:
            on_close(connection, reason)

    connection = await create_conn(host, port, on_close=closed, **options)
    if owner.ended:
        connection.close(reason=CloseReason.SHUTDOWN)
        raise KafkaConnectionError("the client is closed")
    owner.opened.add(connection)
    return connection


def _closing_what_has_ended(send: Callable[..., Any]) -> Callable[..., Any]:
    """Return a way of sending for which an ended transport is an ended connection: uvloop raises `RuntimeError`."""

    def send_or_close(connection: AIOKafkaConnection, *arguments: Any, **options: Any) -> Any:
        try:
            return send(connection, *arguments, **options)
        except KafkaError:
            raise
        except RuntimeError as error:
            connection.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {connection.host}:{connection.port} ended: {error}") from error

    return send_or_close


aiokafka.client.create_conn = _create_conn
AIOKafkaConnection.send = _closing_what_has_ended(AIOKafkaConnection.send)
AIOKafkaConnection._send_sasl_token = _closing_what_has_ended(AIOKafkaConnection._send_sasl_token)
