"""The errors after which it is unknown what the stores hold, and what each makes of the next claim."""

from typing import Final

import asyncpg
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFenced,
    RequestTimedOutError,
)

from processor.core.errors import ClaimLostError
from runtime.errors import UnreachableError
from runtime.kafka import KAFKA_ERRORS
from runtime.metrics import ClaimReason
from runtime.postgres import DATABASE_ERRORS

DOUBTS: Final = (ClaimLostError, UnreachableError, *KAFKA_ERRORS, *DATABASE_ERRORS)
"""After these the partition is claimed anew."""

_REASONS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], ClaimReason], ...]] = (
    (ClaimLostError, ClaimReason.LOST),
    ((ProducerFenced, InvalidProducerEpoch), ClaimReason.FENCED),
    ((TimeoutError, KafkaTimeoutError, RequestTimedOutError), ClaimReason.TIMEOUT),
    ((asyncpg.QueryCanceledError, asyncpg.TransactionTimeoutError), ClaimReason.TIMEOUT),
    ((UnreachableError, KafkaConnectionError, asyncpg.PostgresConnectionError, OSError), ClaimReason.CONNECTION),
    (KafkaError, ClaimReason.KAFKA),
    ((asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError), ClaimReason.POSTGRES),
)


def claim_reason(doubt: BaseException) -> ClaimReason:
    """Return why the partition is claimed after one of `DOUBTS`. The first line that fits counts."""
    return next((reason for kinds, reason in _REASONS if isinstance(doubt, kinds)), ClaimReason.KAFKA)
