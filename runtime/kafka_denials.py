"""Why brokers deny a client, with the settings to look at: aiokafka's exceptions do not say, its log does."""

import logging
import ssl
from contextvars import ContextVar
from typing import Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
    UnsupportedSaslMechanismError,
)

from runtime.errors import DeniedError, UnreachableError

DENIALS: Final = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)
"""What a broker says to a user that lacks a permission. Trying again helps only when an operator has granted it."""


class LastWords:
    """What aiokafka logs while a client connects: kept from the log, and told as the reason why it could not."""

    def __init__(self) -> None:
        """Begin with nothing heard."""
        self._causes: list[object] = []
        self._listening = True

    def __enter__(self) -> None:
        """Listen."""
        logging.getLogger("aiokafka").addFilter(_overhear)
        self._token = _listener.set(self)

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._listening = False  # tasks of the client have been started with us in their context
        _listener.reset(self._token)

    def hear(self, record: logging.LogRecord) -> bool:
        """Take a record of the log. Return whether it was for us."""
        if not self._listening or record.levelno < logging.WARNING:
            return False
        self._causes.append(record.args[-1] if isinstance(record.args, tuple) and record.args else record.msg)
        return True

    def error(self, client: AIOKafkaClient, otherwise: str) -> UnreachableError:
        """Say what was heard. Of several brokers, what one refuses tells more than that another is away."""
        where = f"Kafka at {','.join(f'{host}:{port}' for host, port, _ in client.hosts)}"
        for cause in self._causes:
            if denial := _denial(client, cause):
                return DeniedError(f"{where} {denial}")
        if not self._causes:
            return UnreachableError(f"{where} {otherwise}")
        cause = self._causes[-1]
        hint = ""
        if isinstance(cause, (KafkaConnectionError, ConnectionResetError, ssl.SSLError)):
            hint = f"; if that stays so, it does not expect WAYBILL_KAFKA_SECURITY_PROTOCOL={client._security_protocol}"
        return UnreachableError(f"{where} cannot be reached: {str(cause) or repr(cause)}{hint}")


_listener: Final[ContextVar[LastWords | None]] = ContextVar("listener", default=None)


def _overhear(record: logging.LogRecord) -> bool:
    """Keep from the log what a listener takes."""
    listener = _listener.get()
    return listener is None or not listener.hear(record)


def _denial(client: AIOKafkaClient, cause: object) -> str | None:
    """Say how a broker denies us, if it does, with the settings to look at. Reaches into aiokafka 0.14."""
    match cause:
        case SaslAuthenticationFailed():
            return (
                f"refuses the log-in of {client._sasl_plain_username} by {client._sasl_mechanism}: wrong user or "
                "password (WAYBILL_KAFKA_SASL_USERNAME, WAYBILL_KAFKA_SASL_PASSWORD)"
            )
        case UnsupportedSaslMechanismError():
            return f"does not take log-ins by {client._sasl_mechanism} (WAYBILL_KAFKA_SASL_MECHANISM)"
        case ssl.SSLCertVerificationError():
            return f"shows a certificate that is not trusted: {cause.verify_message} (WAYBILL_KAFKA_SSL_CAFILE)"
        case _:
            return None
