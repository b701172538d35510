"""What `waybill doctor` looks at on this machine: the settings, and the door's spool."""

import os
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from operators.doctor.finding import Finding, Level
from operators.retention.limits import too_short
from operators.spool import look
from runtime.settings import Settings, secrets_settings
from schemas.topics import TOPICS, Topic

_RETENTION: Final = {spec.topic: spec.retention for spec in TOPICS}

Writable = Callable[[Path], bool]
"""Says whether a directory can be written, or made."""


def of_settings(settings: Settings, writable: Writable) -> Iterator[Finding]:
    """Judge the settings, which are valid by themselves. Where no courier is on there is no door, and no spool."""
    on = settings.couriers_on
    if on:
        yield Finding(Level.OK, "couriers", f"on: {', '.join(on)}; account: {settings.account or 'none'}")
        yield _spool(settings, writable)
    else:
        found = "none is on: a door would not start with these settings"
        yield Finding(Level.WARN, "couriers", found, f"where the door runs, set {' or '.join(secrets_settings())}")
    if fault := too_short(settings, _RETENTION[Topic.RAW]):
        yield Finding(Level.FAIL, "retention", fault, "set it to more days")
    else:
        final, others = _days(settings.retention), _days(settings.retention_unfinished)
        yield Finding(Level.OK, "retention", f"silent shipments keep their history {final}, unfinished ones {others}")
    if settings.dlq_max_ratio >= 1:
        found = "a flood of dead letters stops no partition"
        yield Finding(Level.WARN, "dead letters", found, "set WAYBILL_DLQ_MAX_RATIO below 1 again")


def _spool(settings: Settings, writable: Writable) -> Finding:
    folder = settings.ingest_spool_dir
    if folder is None:
        mend = "set WAYBILL_INGEST_SPOOL_DIR"
        return Finding(Level.WARN, "spool", "none: the door answers 503 while Kafka is away", mend)
    if writable(Path(folder)):
        return Finding(Level.OK, "spool", f"{folder} can be written")
    return Finding(Level.FAIL, "spool", f"{folder} cannot be written", "give the door's user a directory of its own")


def is_writable(folder: Path) -> bool:
    """Whether a directory can be written, or made: the nearest one that is there says so."""
    there = next((each for each in (folder, *folder.absolute().parents) if each.exists()), None)
    return there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK)


async def look_at_spool(settings: Settings) -> AsyncIterator[Finding]:
    """Look at what is refused in the spool of these settings' directory, where this machine has it."""
    if settings.ingest_spool_dir is not None:
        yield of_refused(len(look(Path(settings.ingest_spool_dir)).refused))


def of_refused(count: int) -> Finding:
    """Judge how many records of the door's spool a broker has refused for good."""
    if count:
        found = f"{count} {'record that was' if count == 1 else 'records that were'} answered 200 and refused by Kafka"
        mend = "`waybill spool list` tells why; then `waybill spool retry` or `drop`"
        return Finding(Level.FAIL, "refused", found, mend)
    return Finding(Level.OK, "refused", "nothing in the spool of this machine")


def _days(length: timedelta) -> str:
    return f"{length / timedelta(days=1):g}d"
