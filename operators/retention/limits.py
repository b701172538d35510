"""What is old: shipments by the settings, dead letters and jobs after the topics' retentions in force."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from operators.shared.errors import OperatorError
from operators.shared.topic_retention import retentions
from runtime import kafka
from runtime.errors import UnreachableError
from runtime.settings import Settings
from schemas.records import header_texts
from schemas.times import moment_of, read_time
from schemas.topics import Topic

READ_SECONDS: Final = 30.0
"""How long looking at a partition's first records may take."""

FETCH_MS: Final = 250
"""How long one look waits for a record."""

_END: Final = datetime.max.replace(tzinfo=UTC)


class Limits(msgspec.Struct, frozen=True):
    """What is old. Everything before these moments goes; None: nothing goes.

    `silent_since` is for final shipments, `unfinished_since` for those that never became final.
    """

    silent_since: datetime
    unfinished_since: datetime
    dead_letters: datetime | None
    jobs: datetime


class Oldest(msgspec.Struct, frozen=True):
    """The partitions of the dead letters' topic, and when the oldest record of each was written that is still there.

    Kafka lets whole segments go, so records stay longer than they must; the audit compares with what is there.
    """

    partitions: tuple[int, ...]
    written: tuple[datetime, ...]


def too_short(settings: Settings, raw: timedelta | None) -> str | None:
    """Say why no shipment may be retired, if so. `raw`: how long the raw topic keeps its records; None: for ever."""
    if raw is None:
        return "the raw topic keeps its records for ever, so no shipment's history may go before them"
    for name, kept in (("", settings.retention), ("_UNFINISHED", settings.retention_unfinished)):
        if kept <= raw:
            return (
                f"WAYBILL_RETENTION{name} ({kept}) must be longer than the raw topic keeps its records "
                f"({raw}): a replay of what is still there would find its shipments' history gone"
            )
    return None


def limits(now: datetime, settings: Settings, raw: timedelta | None, dead_letters: timedelta | None) -> Limits:
    """Say what is old: shipments by the settings, the rest after the topics' retentions in force (None: for ever).

    Raises:
        OperatorError: the raw topic may still hold records of what would be retired.

    """
    if fault := too_short(settings, raw):
        raise OperatorError(fault)
    assert raw is not None
    return Limits(
        now - settings.retention,
        now - settings.retention_unfinished,
        None if dead_letters is None else now - dead_letters,
        now - raw,
    )


async def limits_in_force(settings: Settings) -> Limits:
    """Say what is old, by the settings and the topics as they are.

    Raises:
        OperatorError: a setting is not longer than the raw topic's.

    """
    kept = await retentions(settings, (Topic.RAW, Topic.DEAD_LETTERS))
    return limits(datetime.now(UTC), settings, kept[Topic.RAW], kept[Topic.DEAD_LETTERS])


async def oldest_letters(settings: Settings) -> Oldest:
    """Look how far back the dead letters' topic reaches.

    Raises:
        UnreachableError: Kafka cannot be reached, or gives no record that is there.

    """
    async with kafka.open_reader(settings, "waybill-operator", settings.topic(Topic.DEAD_LETTERS)) as reader:
        try:
            async with asyncio.timeout(READ_SECONDS):
                parts = sorted(reader.assignment())
                found = [await _oldest(reader, part) for part in parts]
        except TimeoutError as error:
            raise UnreachableError(f"Kafka gives no dead letter within {READ_SECONDS:.0f} s") from error
    return Oldest(tuple(part.partition for part in parts), tuple(found))


async def _oldest(reader: Any, part: Any) -> datetime:
    """Return when a partition's first record was written; of an empty one, the end of time."""
    end = (await reader.end_offsets([part]))[part]
    while await reader.position(part) < end:
        for record in (await reader.getmany(part, timeout_ms=FETCH_MS, max_records=1)).get(part, ()):
            return _written(record)
    return _END


def _written(record: Any) -> datetime:
    """Return when a dead letter was recorded. Kafka's timestamp is when it was published, which may be long after."""
    said = read_time(header_texts(record.headers).get("dlq-at"), UTC)
    return said[0] if said else moment_of(record.timestamp) or datetime.min.replace(tzinfo=UTC)
