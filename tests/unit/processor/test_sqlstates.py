"""Which errors of the database are a record's fault."""

import asyncpg
import pytest

from processor.storage.data_errors import blames_data


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UntranslatableCharacterError,
        asyncpg.NumericValueOutOfRangeError,
        asyncpg.InvalidTextRepresentationError,
        asyncpg.NotNullViolationError,
        asyncpg.CheckViolationError,
        asyncpg.ProgramLimitExceededError,
        asyncpg.StatementTooComplexError,
    ],
)
def test_a_record_is_to_blame(error: type[asyncpg.PostgresError]) -> None:
    assert blames_data(error.sqlstate)


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.UniqueViolationError,
        asyncpg.ForeignKeyViolationError,
        asyncpg.SerializationError,
        asyncpg.DeadlockDetectedError,
        asyncpg.LockNotAvailableError,
        asyncpg.ReadOnlySQLTransactionError,
        asyncpg.DiskFullError,
        asyncpg.OutOfMemoryError,
        asyncpg.TooManyConnectionsError,
        asyncpg.AdminShutdownError,
        asyncpg.CannotConnectNowError,
        asyncpg.QueryCanceledError,
        asyncpg.IdleInTransactionSessionTimeoutError,
        asyncpg.UndefinedTableError,
        asyncpg.UndefinedColumnError,
        asyncpg.InsufficientPrivilegeError,
        asyncpg.ConnectionDoesNotExistError,
    ],
)
def test_everything_else_waits(error: type[asyncpg.PostgresError]) -> None:
    assert not blames_data(error.sqlstate)


def test_no_state_waits() -> None:
    assert not blames_data(None)
