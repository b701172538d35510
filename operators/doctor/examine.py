"""Looking at everything Waybill stands on: a line for each thing, with what mends it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from operators.doctor.cursors import Halted, look_at_cursors
from operators.doctor.finding import Finding, Level, guarded
from operators.doctor.kafka import CLOCK_MEND, look_at_brokers_clock, look_at_kafka
from operators.doctor.machine import is_writable, look_at_spool, of_settings
from operators.doctor.postgres import LOOKING, PRIVILEGES, look_at_postgres
from runtime.settings import Settings

KAFKA_MEND: Final = "start the brokers, or set WAYBILL_KAFKA_BOOTSTRAP_SERVERS and the other WAYBILL_KAFKA_… right"

POSTGRES_MEND: Final = "start PostgreSQL, or set WAYBILL_DATABASE_URL right"


async def examine(
    settings: Settings, halted: Halted, *, here: bool = True, acts: bool = True
) -> AsyncIterator[Finding]:
    """Look at everything, whatever is away. Changes nothing. `halted` is asked which partitions need a recovery.

    Unless `here`, the settings and the spool of this machine are left out: it need not be the door's. Unless `acts`,
    PostgreSQL's role need only be able to look.
    """
    if here:
        for finding in of_settings(settings, is_writable):
            yield finding
        async for finding in guarded("spool", look_at_spool(settings), "run it as the door's user, on its machine"):
            yield finding
    kafka, postgres = await asyncio.gather(
        _look_at_brokers(settings), _look_at_database(settings, PRIVILEGES if acts else LOOKING)
    )
    for finding in (*kafka, *postgres):
        yield finding
    if any(
        finding.what in {"kafka", "postgres", "schema"} and finding.level is Level.FAIL for finding in kafka + postgres
    ):
        yield Finding(Level.FAIL, "cursors", "cannot be compared with the log while a store is not as it must be")
        return
    async for finding in guarded("cursors", look_at_cursors(settings, halted)):
        yield finding


async def _look_at_brokers(settings: Settings) -> list[Finding]:
    found = [finding async for finding in guarded("kafka", look_at_kafka(settings), KAFKA_MEND)]
    if all(finding.what != "kafka" or finding.level is not Level.FAIL for finding in found):
        found += [finding async for finding in guarded("kafka clock", look_at_brokers_clock(settings), CLOCK_MEND)]
    return found


async def _look_at_database(settings: Settings, privileges: tuple[tuple[str, str], ...]) -> list[Finding]:
    return [finding async for finding in guarded("postgres", look_at_postgres(settings, privileges), POSTGRES_MEND)]
