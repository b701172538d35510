"""Which of PostgreSQL's errors the data is to blame for: no retry helps against them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from processor.core.errors import UnstorableError

_REFUSED: Final = ("22", "54", "23502", "23514")
"""SQLSTATE classes that blame the data: bad data, limits exceeded, not null, check."""

_DataError: Final = asyncpg.exceptions._base.DataError
"""Raised for a value that asyncpg itself cannot write: an `InterfaceError`, and the data's fault alone."""


@contextmanager
def blaming_data() -> Iterator[None]:
    """Tell the data's fault from the database's: what no database would take comes out as `UnstorableError`."""
    try:
        yield
    except asyncpg.PostgresError as error:
        if blames_data(error.sqlstate):
            raise UnstorableError(f"{error.sqlstate}: {type(error).__name__}") from error
        raise
    except (_DataError, UnicodeEncodeError, OverflowError) as error:
        raise UnstorableError("a value that PostgreSQL has no form for") from error


def blames_data(sqlstate: str | None) -> bool:
    """Whether an error is the data's fault. All others wait and retry."""
    return (sqlstate or "").startswith(_REFUSED)
