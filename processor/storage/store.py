"""The processor's side of PostgreSQL: what a batch needs, and one transaction a batch with one statement a table."""

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from processor.core.cursor import Cursor, Fingerprint
from processor.core.errors import ClaimLostError, StoredRowError, UnstorableError
from processor.core.fold import Snapshot
from processor.core.outputs import Output, anomaly_id, chunk_end, forgotten_event
from processor.core.plan import AppliedCommand, ObservationRow, Plan, Roots, Said
from processor.core.reading import Read, Reading, is_decision
from processor.core.state import Past, Shipment, forgotten, is_outdated, rebuild, retired_shipment
from processor.protocol.crash_points import Reached, Step, no_one
from runtime.postgres import Connection, Connections
from runtime.queries import load_queries
from schemas.couriers import COURIERS
from schemas.decisions import decision_digest
from schemas.observation import NO_DETAILS, Carrier, Charges, Decision, Details, Driver, Observation, Proof, Stamp
from schemas.topics import Topic
from schemas.vocabulary import PHASES, AnomalyKind, Service, Status, TimeSource

DEAD_LETTER: Final = "dead_letter"
"""The outcome of a command whose record gave no observation."""

STORED_CHUNK: Final = 2_000
STORED_BYTES: Final = 8 * 1024 * 1024
"""Stored outputs, and their bytes, published in one Kafka transaction by a claim. They are in memory a few times over,
and all partitions may be claimed at once; only what one cause has left is never cut."""

LOADED_ROWS: Final = 1_000
"""Observations fetched at once: some milliseconds to decode, and the loop is free in between."""

LOADED_BYTES: Final = 64 * 1024 * 1024
"""How much of histories is loaded for a piece; that of one shipment is in any case."""

_Q: Final = load_queries("processor.storage")
_REFUSED: Final = ("22", "54", "23502", "23514")
"""SQLSTATE classes that blame the data: bad data, limits exceeded, not null, check."""

_DataError: Final = asyncpg.exceptions._base.DataError
"""Raised for a value that asyncpg itself cannot write: an `InterfaceError`, and the data's fault alone."""


class _Persons(msgspec.Struct, frozen=True):
    """The column `personal`."""

    driver: Driver | None = None
    signed_by: str | None = None
    tracking_url: str | None = None
    proofs: tuple[Proof, ...] = ()


_json: Final = msgspec.json.Encoder().encode
_read_observation: Final = msgspec.json.Decoder(Observation).decode
_read_decision: Final = msgspec.json.Decoder(Decision).decode
_read_carrier: Final = msgspec.json.Decoder(Carrier).decode
_read_charges: Final = msgspec.json.Decoder(Charges).decode
_read_persons: Final = msgspec.json.Decoder(_Persons).decode
_pack_headers: Final = msgspec.msgpack.Encoder().encode
_unpack_headers: Final = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]]).decode


class Chunk(msgspec.Struct, frozen=True):
    """Stored outputs that end between two causes: with them, everything before `end` is published."""

    outputs: Sequence[Output]
    end: int


class Store:
    """One raw topic's tables."""

    def __init__(self, pool: Connections, reached: Reached = no_one) -> None:
        """Keep the pool. Every method takes one connection of it for its own time."""
        self._pool = pool
        self._reached = reached

    async def now(self) -> datetime:
        """Return the time by PostgreSQL's clock: one for all processors, whatever their machines' clocks say."""
        async with self._pool.acquire() as connection:
            now: datetime = await connection.fetchval(_Q["now"])
        return now

    async def load(self, shipment_ids: Iterable[str]) -> dict[str, Shipment]:
        """Return those of the shipments that anything is known of.

        Raises:
            UnstorableError: the database refuses an id.
            StoredRowError: something stored about one of them cannot be read.

        """
        found, _ = await self.load_some(sorted(shipment_ids), None)
        return found

    async def load_some(self, shipment_ids: Sequence[str], most: int | None) -> tuple[dict[str, Shipment], int]:
        """Load shipments in this order until they weigh more than `most` bytes.

        Return those that anything is known of, and for how many of the ids that speaks. Raises as `load` does.
        """
        found: dict[str, Shipment] = {}
        if not shipment_ids:
            return found, 0
        weight = seen = 0
        with blaming_data():
            async with self._pool.acquire() as connection, connection.transaction():
                known = {row["shipment_id"]: row for row in await connection.fetch(_Q["load_rows"], shipment_ids)}
                bare = {name: _retired(row) for name, row in known.items() if row["retired"]}
                cursor = await connection.cursor(_Q["load_histories"], shipment_ids)
                async for name, history in _histories(cursor):
                    shipment = bare.get(name) or _rebuilt(name, history, known.get(name))
                    if shipment is not None:
                        found[name] = shipment
                        weight += shipment.weight
                    seen += 1
                    if most is not None and weight > most:
                        break
        return found, seen

    async def recall(self, readings: Iterable[Reading]) -> tuple[frozenset[str], Roots]:
        """Return which of a batch's command ids were applied, and what is known of the roots it reads again.

        Raises:
            UnstorableError: the database refuses one of them.

        """
        commands = {reading.command_id for reading in readings if reading.command_id is not None}
        roots = {reading.root for reading in readings if isinstance(reading, Read) and reading.root is not None}
        if not commands and not roots:
            return frozenset(), {}
        with blaming_data():
            async with self._pool.acquire() as connection:
                known = await connection.fetch(_Q["known_commands"], list(commands))
                rows = await connection.fetch(_Q["roots"], *map(list, zip(*roots, strict=True))) if roots else []
        found: dict[tuple[int, int], list[Said]] = {}
        for partition, offset, shipment_id, refused in rows:
            found.setdefault((partition, offset), []).append(Said(shipment_id, refused))
        return frozenset(row["command_id"] for row in known), found

    async def written_down(self, readings: Iterable[Reading]) -> frozenset[tuple[str, bytes]]:
        """Return the decisions that the operators' log has under a batch's command ids, whatever they say.

        They stand there before they are appended.
        """
        commands = {reading.command_id for reading in readings if is_decision(reading) and reading.command_id}
        if not commands:
            return frozenset()
        with blaming_data():
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(_Q["written_decisions"], list(commands))
        return frozenset((row["command_id"], decision_digest(decision)) for row in rows if (decision := _decided(row)))

    async def apply(self, partition: int, held: Cursor, moved: Cursor, plan: Plan, now: datetime) -> None:
        """Write a batch and move the cursor from `held` to `moved`, in one transaction.

        Raises:
            ClaimLostError: another claim has taken the partition over.
            UnstorableError: the database refuses a value of the batch. Nothing was written.
            StoredRowError: what is to be erased cannot be read. Nothing was written.

        """
        shipments = _shipment_columns(plan, now)
        observations = [_observation_record(row, held.incarnation, now) for row in plan.observations if row.stored]
        outputs = [output_record(output, held.incarnation) for output in plan.outputs]
        records = len(plan.observations) + len(plan.dead_letters)
        letters = sum(output.topic is Topic.DEAD_LETTERS for output in plan.outputs)
        last = moved.last
        with blaming_data():
            async with self._pool.acquire() as connection, connection.transaction():
                advanced = await connection.fetchval(
                    _Q["advance_cursor"],
                    partition,
                    held.epoch,
                    held.next_offset,
                    moved.next_offset,
                    moved.emitted,
                    last and last.offset,
                    last and last.digest,
                    records,
                    records - len(observations) - letters,
                )
                if advanced is None:
                    raise ClaimLostError("another claim has taken the partition over")
                if shipments:
                    await connection.execute(_Q["upsert_shipments"], *shipments)
                if observations:
                    await connection.copy_records_to_table(
                        "observations", records=observations, columns=_OBSERVATION_COLUMNS
                    )
                if outputs:
                    await connection.copy_records_to_table("outputs", records=outputs, columns=OUTPUT_COLUMNS)
                if plan.commands:
                    commands = [_command_record(command, now) for command in plan.commands]
                    await connection.copy_records_to_table(
                        "applied_commands", records=commands, columns=_COMMAND_COLUMNS
                    )
                if plan.erased:
                    await _erase(connection, list(plan.erased), now)
                if plan.retired:
                    await _retire(connection, list(plan.retired), partition, held, moved.emitted, now)
                self._reached(Step.WRITTEN)

    async def note_emitted(self, partition: int, cursor: Cursor, emitted: int) -> None:
        """Remember how far is published, when no batch comes along to carry it.

        Raises:
            ClaimLostError: another claim has taken the partition over.

        """
        async with self._pool.acquire() as connection:
            noted = await connection.fetchval(_Q["note_emitted"], partition, cursor.epoch, emitted)
        if noted is None:
            raise ClaimLostError("another claim has taken the partition over")

    async def stored(self, partition: int, cursor: Cursor, start: int) -> AsyncIterator[Chunk]:
        """Return the outputs stored for the causes from `start` up to the cursor, in chunks. The last ends there."""
        end = cursor.next_offset
        while start < end:
            async with self._pool.acquire() as connection:
                place = partition, cursor.incarnation, start
                # A cause has at least one output: beyond so many the chunk has ended.
                sizes = await connection.fetch(_Q["sizes_between"], *place, end, STORED_CHUNK + 1)
                start = chunk_end(map(tuple, sizes), STORED_CHUNK, STORED_BYTES) or end
                rows = await connection.fetch(_Q["outputs_between"], *place, start)
            yield Chunk([_stored_output(partition, row) for row in rows], start)


async def _erase(connection: Connection, shipment_ids: Sequence[str], now: datetime) -> None:
    """Take the personal data out of what is stored about shipments."""
    readings = [
        (row["shipment_id"], row["incarnation"], row["raw_partition"], row["raw_offset"], _forgotten(row))
        for row in await connection.fetch(_Q["readings_of"], shipment_ids)
    ]
    if readings:
        await connection.execute(_Q["rewrite_readings"], *zip(*readings, strict=True))
    events = [_event_forgotten(row) for row in await connection.fetch(_Q["events_of"], shipment_ids)]
    if events:
        await connection.execute(_Q["rewrite_outputs"], *zip(*events, strict=True))
    await connection.execute(_Q["mark_erased"], shipment_ids, now)


async def _retire(
    connection: Connection, shipment_ids: Sequence[str], partition: int, held: Cursor, emitted: int, now: datetime
) -> None:
    """Delete what is stored about shipments, but for their rows and what is not known to be published."""
    await connection.execute(_Q["mark_retired"], shipment_ids, now, _text(personal(Details())))
    await connection.execute(_Q["retire_observations"], shipment_ids, partition, held.incarnation, held.next_offset)
    await connection.execute(_Q["retire_outputs"], shipment_ids, held.incarnation, emitted)


def _decided(row: Any) -> Decision | None:
    """Read what the log says of a command; None: that is no decision."""
    try:
        found: Decision = _read_decision(row["detail"])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    return found


def read_reading(row: Any) -> Observation:
    """Read a stored observation. The row names its shipment and its raw record.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    try:
        return _read_observation(row["reading"])
    except (msgspec.DecodeError, UnicodeError, RecursionError, ValueError) as error:
        raise StoredRowError(_named(row), error) from error


def read_past(row: Any) -> Past:
    """Read a row of `load_histories`.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    observation, kind = read_reading(row), row["anomaly_kind"]
    try:
        at = row["root_partition"], row["root_offset"]
        refusal = kind and anomaly_id(observation.shipment_id, at, row["incarnation"], AnomalyKind(kind))
    except ValueError as error:
        raise StoredRowError(_named(row), error) from error
    return Past(observation, refusal, row["again"])


def _named(row: Any) -> str:
    incarnation = f"{row['incarnation']}/" if row["incarnation"] else ""
    place = f"{incarnation}{row['raw_partition']}:{row['raw_offset']}"
    return f"the observation of shipment {row['shipment_id']} from raw record {place}"


def _rebuilt(name: str, history: Sequence[Past], row: Any) -> Shipment | None:
    """Fold a shipment from what is stored. `row` is that of `load_rows`; None: it has none."""
    if row is None and not history:
        return None
    courier = history[-1].observation.courier if history else row["courier"]
    try:
        shipment = rebuild(COURIERS[courier], name, row["version"] if row else 0, history)
        if is_outdated(shipment):
            shipment.shown = read_snapshot(row) if row else None
    except MemoryError:
        raise
    except Exception as error:
        raise StoredRowError(f"the history of shipment {name}", error) from error
    return shipment


def _forgotten(row: Any) -> str | None:
    return _text(forgotten(read_reading(row)))


def _event_forgotten(row: Any) -> tuple[Any, ...]:
    *key, value = row
    try:
        return (*key, forgotten_event(value))
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        what = f"the output {row['raw_partition']}:{row['cause_offset']}/{row['ordinal']}"
        raise StoredRowError(what, error) from error


async def _histories(cursor: Any) -> AsyncIterator[tuple[str, list[Past]]]:
    """Give the rows of `load_histories` shipment by shipment. One of which nothing is known has a single empty row."""
    name, history = None, list[Past]()
    while rows := await cursor.fetch(LOADED_ROWS):
        for row in rows:
            if row["shipment_id"] != name:
                if name is not None:
                    yield name, history
                name, history = row["shipment_id"], []
            if row["reading"] is not None:
                history.append(read_past(row))
    if name is not None:
        yield name, history


def _retired(row: Any) -> Shipment:
    try:
        return retired_shipment(COURIERS[row["courier"]], row["shipment_id"], row["version"], read_snapshot(row))
    except (msgspec.DecodeError, UnicodeError, ValueError, LookupError) as error:
        raise StoredRowError(f"the row of shipment {row['shipment_id']}", error) from error


def read_snapshot(row: Any) -> Snapshot:
    """Read the snapshot that a row of `shipments` shows.

    Raises:
        ValueError, msgspec.DecodeError: a value in it is unknown, or of another form.

    """
    persons = _read_persons(row["personal"])
    details = Details(
        order_id=row["order_id"],
        awb=row["awb"],
        carrier=_read_carrier(row["carrier"]) if row["carrier"] else None,
        charges=_read_charges(row["charges"]) if row["charges"] else None,
        driver=persons.driver,
        signed_by=persons.signed_by,
        tracking_url=persons.tracking_url,
        reason=row["reason"],
        description=row["description"],
        proofs=persons.proofs,
    )
    return Snapshot(
        service=Service(row["service"]),
        status=Status(row["status"]),
        courier_status=row["courier_status"],
        failed_count=row["failed_count"],
        occurred=Stamp(row["occurred_at"], TimeSource(row["occurred_at_source"])),
        details=details,
    )


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


def read_cursor(row: Any) -> Cursor:
    """Read a row of `cursors`."""
    values = dict(row)
    del values["raw_partition"]
    offset, found = values.pop("last_offset"), values.pop("last_digest")
    return Cursor(**values, last=None if offset is None else Fingerprint(offset, found))


_OBSERVATION_COLUMNS: Final = (
    "incarnation",
    "shipment_id",
    "raw_partition",
    "raw_offset",
    "outcome",
    "anomaly_kind",
    "version",
    "kept",
    "reading",
    "recorded_at",
    "replay_of_partition",
    "replay_of_offset",
    "command_id",
)
_COMMAND_COLUMNS: Final = ("command_id", "raw_partition", "raw_offset", "outcome", "applied_at")
OUTPUT_COLUMNS: Final = (
    "incarnation",
    "raw_partition",
    "cause_offset",
    "ordinal",
    "topic",
    "key",
    "value",
    "headers",
    "shipment_id",
    "version",
    "recorded_at",
)


def _shipment_columns(plan: Plan, now: datetime) -> list[tuple[Any, ...]]:
    """Return the changed shipments column by column, in the order of their ids so that no two batches deadlock."""
    return list(zip(*(_shipment_record(plan, name, now) for name in sorted(plan.changed)), strict=True))


def _shipment_record(plan: Plan, name: str, now: datetime) -> tuple[Any, ...]:
    shipment, observation = plan.shipments[name], plan.changed[name]
    snapshot = shipment.snapshot
    assert snapshot is not None
    details = snapshot.details
    return (
        name,
        observation.courier,
        observation.account,
        snapshot.service,
        observation.reference,
        details.order_id,
        details.awb,
        snapshot.status,
        PHASES[snapshot.status],
        COURIERS[observation.courier].lifecycles[snapshot.service].is_final(snapshot.status),
        snapshot.courier_status,
        snapshot.failed_count,
        _text(details.carrier),
        _text(details.charges),
        details.reason,
        details.description,
        _text(personal(details)),
        snapshot.occurred.at,
        snapshot.occurred.source,
        shipment.version,
        now,
    )


def personal(details: Details) -> dict[str, Any]:
    """Return the personal data, as the column holds it."""
    return {
        "driver": details.driver,
        "signed_by": details.signed_by,
        "tracking_url": details.tracking_url,
        "proofs": details.proofs,
    }


def _observation_record(row: ObservationRow, incarnation: int, now: datetime) -> tuple[Any, ...]:
    return (
        incarnation,
        row.observation.shipment_id,
        row.record.partition,
        row.record.offset,
        row.outcome,
        row.anomaly_kind,
        row.version,
        row.kept,
        _text(row.observation if row.kept else _bare(row.observation)),
        now,
        *(row.root or (None, None)),
        row.command_id,
    )


def _bare(observation: Observation) -> Observation:
    """Leave out the details of what is not kept: a repeat's are stored already, and no fold looks at the others'."""
    return msgspec.structs.replace(observation, details=NO_DETAILS)


def _command_record(command: AppliedCommand, now: datetime) -> tuple[Any, ...]:
    record = command.record
    return (command.command_id, record.partition, record.offset, command.outcome or DEAD_LETTER, now)


def output_record(output: Output, incarnation: int) -> tuple[Any, ...]:
    """Return an output's row, for `OUTPUT_COLUMNS`."""
    return (
        incarnation,
        output.partition,
        output.cause,
        output.ordinal,
        output.topic,
        output.key,
        output.value,
        _pack_headers(output.headers) if output.headers else None,
        output.shipment_id,
        output.version,
        output.recorded_at,
    )


def _stored_output(partition: int, row: Any) -> Output:
    """Read a row of `outputs_between`.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    try:
        return _output(partition, row)
    except (msgspec.DecodeError, UnicodeError, ValueError) as error:
        what = f"the output {partition}:{row['cause_offset']}/{row['ordinal']} of shipment {row['shipment_id']}"
        raise StoredRowError(what, error) from error


def _output(partition: int, row: Any) -> Output:
    return Output(
        Topic(row["topic"]),
        partition,
        row["cause_offset"],
        row["ordinal"],
        row["key"],
        row["value"],
        row["recorded_at"],
        row["shipment_id"],
        row["version"],
        _unpack_headers(row["headers"]) if row["headers"] else [],
    )


def _text(value: object) -> str | None:
    return None if value is None else _json(value).decode()
