"""What operators decide about one shipment: appended to the raw topic, and applied by the partition's worker."""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final

import msgspec

from operators.decisions.known_shipment import KnownShipment
from operators.shared.appending import decision_record
from operators.shared.operator_log import write_down
from operators.shared.outcomes import outcomes
from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.state import Shipment
from processor.storage.rows import read_event
from runtime.appending import Appender
from runtime.postgres import Pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.decisions import read_decision
from schemas.events import Event
from schemas.observation import Decision, Observation
from schemas.records import NewRecord, RawRecord, read_provenance
from schemas.topics import Topic

TOGETHER: Final = 200
"""Decisions that are appended before it is waited for them."""

_Q: Final = load_queries("operators.decisions")


class EventSummary(msgspec.Struct, frozen=True):
    """An event, without its details."""

    id: str
    type: str
    status: str
    previous_status: str | None
    resolves: tuple[str, ...]


class DecisionOutcome(msgspec.Struct, frozen=True):
    """What came of a decision. Without an outcome it is appended and not applied yet."""

    command_id: str
    outcome: str | None = None
    event: EventSummary | None = None


def write(known: KnownShipment, decision: Decision, command_id: str | None = None) -> tuple[str, NewRecord]:
    """Write the record of a decision made now; return its command id and the record."""
    name = command_id or f"decision-{token_hex(8)}"
    return name, decision_record(decision, known.courier, known.account, name, datetime.now(UTC))


def observation_of(record: NewRecord) -> Observation:
    """Return what a decision's record says."""
    return read_decision(record.value, read_provenance(record.headers, record.timestamp_ms))


def predicted(record: NewRecord, shipment: Shipment, settings: Settings) -> EventSummary | None:
    """Say which event a decision will give, if nothing else arrives before it."""
    raw = RawRecord(0, 0, record.key, record.value, tuple(record.headers), timestamp_ms=record.timestamp_ms)
    reading = read(raw, settings.assumed_zone, partitions=1)
    planner = Planner({shipment.shipment_id: shipment}, settings.topic(Topic.RAW), datetime.now(UTC))
    planned = planner.add_all([reading])
    return next((_told(output.event) for output in planned.outputs if output.event is not None), None)


async def decide(
    pool: Pool, appender: Appender, command: tuple[str, NewRecord], decision: Decision, what: str
) -> DecisionOutcome:
    """Write a decision down under `what`, append it, wait until it is applied; return what came of it."""
    command_id, record = command
    async with pool.acquire() as connection:
        await write_down(connection, what, [(command_id, decision)])
    await appender.append([record])
    applied = (await outcomes(pool, [command_id])).get(command_id)
    if applied is None:
        return DecisionOutcome(command_id)
    async with pool.acquire() as connection:
        row = await connection.fetchrow(_Q["event_of_record"], applied.partition, applied.offset)
    return DecisionOutcome(command_id, applied.outcome, None if row is None else _told(read_event(row)))


async def decide_all(
    pool: Pool, appender: Appender, decided: Sequence[tuple[tuple[str, NewRecord], Decision]], what: str
) -> dict[str, int]:
    """Write decisions down under `what`, append them, wait until they are applied; count what came of them."""
    came: Counter[str] = Counter()
    for start in range(0, len(decided), TOGETHER):
        page = decided[start : start + TOGETHER]
        async with pool.acquire() as connection:
            await write_down(connection, what, [(command_id, decision) for (command_id, _), decision in page])
        await appender.append([record for (_, record), _ in page])
        applied = await outcomes(pool, [command_id for (command_id, _), _ in page])
        came.update(each.outcome for each in applied.values())
        if len(applied) < len(page):
            break  # no processor runs: the rest is left open
    return dict(came)


def _told(event: Event) -> EventSummary:
    return EventSummary(event.id, event.type, event.status, event.previous_status, event.resolves)
