"""One thing that `waybill doctor` found, and how it is to be taken."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Final

import msgspec

from operators.shared.errors import OperatorError
from processor.core.errors import ProcessorError
from runtime.errors import SetupError
from runtime.kafka import KAFKA_ERRORS
from runtime.postgres import DATABASE_ERRORS

FAILURES: Final = (SetupError, OperatorError, ProcessorError, *KAFKA_ERRORS, *DATABASE_ERRORS)
"""What a look may end with instead of an answer."""

SKEW: Final = (timedelta(seconds=2), timedelta(minutes=1))
"""How far another clock may be from this machine's before that is worth a word, and before it is wrong: stored times
and records' times are compared by people and by retention."""


class Level(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


class Finding(msgspec.Struct, frozen=True):
    """What was found about one thing, and what mends it, where something is to be mended."""

    level: Level
    what: str
    found: str
    mend: str | None = None


async def guarded(what: str, findings: AsyncIterator[Finding], mend: str | None = None) -> AsyncIterator[Finding]:
    """Pass findings on; where looking fails, that is the finding."""
    try:
        async for finding in findings:
            yield finding
    except FAILURES as error:
        yield Finding(Level.FAIL, what, (str(error) or repr(error)).splitlines()[0], mend)


def some(names: Sequence[str], most: int = 5) -> str:
    """List names, the first `most` of them and how many more there are."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
