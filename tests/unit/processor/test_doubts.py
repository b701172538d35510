"""Why a partition is claimed again: few words, whatever the stores' clients raise."""

import asyncpg
import pytest
from aiokafka.errors import (
    CorruptRecordException,
    IllegalStateError,
    KafkaConnectionError,
    KafkaTimeoutError,
    ProducerFenced,
)

from processor.core.errors import ClaimLostError
from processor.partition.doubts import DOUBTS, claim_reason
from runtime.errors import DeniedError
from runtime.metrics import ClaimReason


@pytest.mark.parametrize(
    ("doubt", "reason"),
    [
        (ClaimLostError("x"), ClaimReason.LOST),
        (ProducerFenced(), ClaimReason.FENCED),
        (TimeoutError(), ClaimReason.TIMEOUT),
        (KafkaTimeoutError(), ClaimReason.TIMEOUT),
        (asyncpg.QueryCanceledError("x"), ClaimReason.TIMEOUT),
        (KafkaConnectionError(), ClaimReason.CONNECTION),
        (ConnectionResetError(), ClaimReason.CONNECTION),
        (asyncpg.ConnectionDoesNotExistError("x"), ClaimReason.CONNECTION),
        (DeniedError("x"), ClaimReason.CONNECTION),
        (CorruptRecordException(), ClaimReason.KAFKA),
        (IllegalStateError(), ClaimReason.KAFKA),
        (asyncpg.SerializationError("x"), ClaimReason.POSTGRES),
        (asyncpg.InterfaceError("x"), ClaimReason.POSTGRES),
        (asyncpg.InternalClientError("x"), ClaimReason.POSTGRES),
    ],
)
def test_each_doubt_has_its_reason(doubt: Exception, reason: ClaimReason) -> None:
    assert isinstance(doubt, DOUBTS)
    assert claim_reason(doubt) is reason
