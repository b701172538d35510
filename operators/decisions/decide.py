"""What operators decide about one shipment: appended to the raw topic, and applied by the partition's worker."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from secrets import token_hex
from typing import Final

import msgspec

from operators.dead_letters.letters import Body, Letter, chunks
from operators.dead_letters.stored_letters import bodies, pages
from operators.dead_letters.stored_letters import decide as decide_letters
from operators.shared.appending import decision_record
from operators.shared.errors import OperatorError
from operators.shared.finding import find_shipment
from operators.shared.operator_log import write_down
from operators.shared.outcomes import APPLY_SECONDS, outcomes
from operators.shared.rereading import reread
from processor.core.fold import Snapshot, Verdict, judge
from processor.core.plan import plan
from processor.core.reading import Read, ZoneOf, read
from processor.core.state import Shipment
from processor.storage.store import Store
from runtime.appending import Appended, Appender
from runtime.kafka import admin_client
from runtime.kafka_admin import find_topics
from runtime.postgres import Connection, Pool, fetch_one
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.decisions import read_decision
from schemas.events import Event
from schemas.observation import Decision, Observation
from schemas.records import RawRecord, read_provenance
from schemas.topics import Topic
from schemas.vocabulary import Service, Status

PERSONAL: Final = ("driver", "signed_by", "tracking_url", "proofs", "description")
"""The details that go when a shipment is erased. Couriers write names into scan texts."""

TOGETHER: Final = 200
"""Decisions that are appended before it is waited for them."""

_POLL_SECONDS: Final = 0.2

_Q: Final = load_queries("operators.decisions")
_read_event: Final = msgspec.json.Decoder(Event).decode


class Known(msgspec.Struct, frozen=True):
    """A shipment as an operator's decision finds it. Without a row it has no status."""

    shipment_id: str
    courier: str
    account: str | None
    service: Service | None = None
    status: Status | None = None
    version: int = 0
    updated_at: datetime | None = None
    erased_at: datetime | None = None
    retired_at: datetime | None = None


class Told(msgspec.Struct, frozen=True):
    """An event, without its details."""

    id: str
    type: str
    status: str
    previous_status: str | None
    resolves: tuple[str, ...]


class Came(msgspec.Struct, frozen=True):
    """What came of a decision. Without an outcome it is appended and not applied yet."""

    command_id: str
    outcome: str | None = None
    event: Told | None = None


class Reach(msgspec.Struct, frozen=True):
    """How long a topic may hold what an erasure cannot reach. None: for ever."""

    topic: str
    until: datetime | None


class Erasure(msgspec.Struct, frozen=True):
    """What an erasure reaches, and what not."""

    fields: tuple[str, ...]
    observations: int
    events: int
    dead_letters: int
    beyond: tuple[Reach, ...]


def account_of(shipment_id: str, courier: str) -> str | None:
    """Return the merchant account that is part of a shipment's id."""
    return shipment_id.partition(":")[0].removeprefix(courier).removeprefix(".") or None


async def known_shipment(connection: Connection, name: str) -> Known:
    """Return the shipment that a name means. One of which only unknown words came has no row.

    Raises:
        OperatorError: there is none.
        SeveralError: there are several.

    """
    shipment_id = await find_shipment(connection, name)
    row = await connection.fetchrow(_Q["shipment_to_decide"], shipment_id)
    if row is not None:
        return msgspec.convert(dict(row), Known)
    courier = shipment_id.partition(":")[0].partition(".")[0]
    return Known(shipment_id, courier, account_of(shipment_id, courier))


async def load(pool: Pool, shipment_id: str) -> Shipment | None:
    """Return a shipment with its observations."""
    return (await Store(pool).load([shipment_id])).get(shipment_id)


def observation_of(record: Appended) -> Observation:
    """Return what a decision's record says."""
    return read_decision(record.value, read_provenance(record.headers, record.timestamp_ms))


def verdict_on(shipment: Shipment, courier: str, decided: Observation) -> Verdict:
    """Say what the service's table says to a status that an operator wants."""
    return judge(COURIERS[courier].lifecycles[shipment.service], shipment.snapshot, decided)


def in_words(snapshot: Snapshot, wanted: Status, verdict: Verdict) -> str:
    """Say what the table says, in a line."""
    move = f"{snapshot.status} → {wanted}"
    if verdict.moved:
        over = f", past {', '.join(verdict.passed)}" if verdict.passed else ""
        return f"{move} is legal by the table{over}"
    if verdict.accepted and wanted is snapshot.status:
        return f"it is {wanted} already"
    if verdict.accepted:
        return f"from a courier {wanted} would be a scan that leaves it {snapshot.status}; an operator's word moves it"
    return f"{move} is not in the table of {snapshot.service}; an operator's word counts all the same"


def predicted(record: Appended, shipment: Shipment, settings: Settings) -> Told | None:
    """Say which event a decision will give, if nothing else arrives before it."""
    raw = RawRecord(0, 0, record.key, record.value, tuple(record.headers), timestamp_ms=record.timestamp_ms)
    reading = read(raw, settings.assumed_zone, partitions=1)
    planned = plan([reading], {shipment.shipment_id: shipment}, settings.topic(Topic.RAW), datetime.now(UTC))
    return next((_told(output.event) for output in planned.outputs if output.event is not None), None)


def write(known: Known, decision: Decision, command_id: str | None = None) -> tuple[str, Appended]:
    """Write the record of a decision made now; return its command id and the record."""
    name = command_id or f"decision-{token_hex(8)}"
    return name, decision_record(decision, known.courier, known.account, name, datetime.now(UTC))


async def decide(pool: Pool, appender: Appender, command: tuple[str, Appended], decision: Decision, what: str) -> Came:
    """Write a decision down under `what`, append it, wait until it is applied; return what came of it."""
    command_id, record = command
    async with pool.acquire() as connection:
        await write_down(connection, what, [(command_id, decision)])
    await appender.append([record])
    applied = (await outcomes(pool, [command_id])).get(command_id)
    if applied is None:
        return Came(command_id)
    async with pool.acquire() as connection:
        value = await connection.fetchval(_Q["event_of_record"], applied.partition, applied.offset)
    return Came(command_id, applied.outcome, None if value is None else _told(_read_event(value)))


async def decide_all(
    pool: Pool, appender: Appender, decided: Sequence[tuple[tuple[str, Appended], Decision]], what: str
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


async def what_goes(pool: Pool, settings: Settings, known: Known) -> Erasure:
    """Look at what an erasure of a shipment reaches, and until when what it does not reach may be there."""
    shipment = await load(pool, known.shipment_id)
    said = shipment.records.values() if shipment else ()
    found = [each for each in PERSONAL if any(getattr(one.details, each) for one in said)]
    async with pool.acquire() as connection:
        counts = await fetch_one(connection, _Q["stored_of_shipment"], known.shipment_id)
    letters = await letters_of(pool, known.shipment_id, settings.assumed_zone)
    kept = await retentions(settings, (Topic.RAW, Topic.DEAD_LETTERS, Topic.EVENTS))
    newest = counts["newest"] or datetime.now(UTC)
    beyond = tuple(
        Reach(settings.topic(topic), None if length is None else newest + length) for topic, length in kept.items()
    )
    return Erasure(tuple(found), counts["observations"], counts["events"], len(letters), beyond)


async def retentions(settings: Settings, topics: Sequence[Topic]) -> dict[Topic, timedelta | None]:
    """Return how long topics keep records, as it is in force; None: for ever.

    Raises:
        OperatorError: one is missing.

    """
    async with admin_client(settings) as admin:
        found = await find_topics(admin, [settings.topic(each) for each in topics], [_RETENTION])
    kept: dict[Topic, timedelta | None] = {}
    for topic in topics:
        name = settings.topic(topic)
        if name not in found:
            raise OperatorError(f"topic {name} is missing: `waybill topics apply` makes it")
        milliseconds = int(found[name].configs[_RETENTION])
        kept[topic] = None if milliseconds < 0 else timedelta(milliseconds=milliseconds)
    return kept


_RETENTION: Final = "retention.ms"


async def letters_of(pool: Pool, shipment_id: str, zone_of: ZoneOf) -> list[Letter]:
    """Return the stored dead letters about a shipment: by their key, or by what today's code reads in them."""
    found: list[Letter] = []
    async with aclosing(pages(pool)) as all_:
        async for page in all_:
            whole = [each for each in page if each.size is not None]
            others = [each for each in whole if each.key != shipment_id]
            found += [each for each in whole if each.key == shipment_id]
            for chunk in chunks(others):
                found += [each.letter for each in await bodies(pool, chunk) if _is_about(each, shipment_id, zone_of)]
    return found


async def forget_letters(pool: Pool, shipment_id: str, zone_of: ZoneOf, operator: str) -> int:
    """Take the bodies out of the stored dead letters about a shipment; return how many there were.

    They count as dropped. One that is not published yet is waited for.

    Raises:
        OperatorError: it is not published in time.

    """
    clock = asyncio.get_running_loop()
    deadline, forgotten = clock.time() + APPLY_SECONDS, 0
    while letters := await letters_of(pool, shipment_id, zone_of):
        columns = [list(each) for each in zip(*(letter.place for letter in letters), strict=True)]
        async with pool.acquire() as connection, connection.transaction():
            forgotten += await connection.fetchval(_Q["forget_dead_letters"], *columns)
            roots = list({letter.root for letter in letters})
            await decide_letters(connection, roots, "dropped", [None] * len(roots), operator, "erased")
        if clock.time() > deadline:
            raise OperatorError("a dead letter about it is not published yet: start a processor, then erase again")
        await asyncio.sleep(_POLL_SECONDS)
    return forgotten


def _is_about(body: Body, shipment_id: str, zone_of: ZoneOf) -> bool:
    reading = reread(body.record, "", zone_of, partitions=1)
    return isinstance(reading, Read) and reading.observation.shipment_id == shipment_id


def _told(event: Event) -> Told:
    return Told(event.id, event.type, event.status, event.previous_status, event.resolves)
