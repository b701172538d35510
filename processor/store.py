"""The processor's side of PostgreSQL: cursors, and one transaction a batch with one statement a table."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from processor.claims import Cursor, Fingerprint, Stream
from processor.errors import ClaimLostError, UnstorableError
from processor.outputs import Output, anomaly_id
from processor.plan import ObservationRow, Plan
from processor.shipment import Shipment, rebuild
from processor.steps import Reached, Step
from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.couriers import COURIERS
from schemas.observation import Observation
from schemas.topics import Topic
from schemas.vocabulary import PHASES, AnomalyKind

CLAIM_PATIENCE_SECONDS: Final = 5.0
"""How long a claim waits for the cursor's row before it ends the session that holds it: a batch commits in less."""

STORED_CHUNK: Final = 2_000
"""Stored outputs published in one Kafka transaction by a claim."""

DATABASE_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a statement that is given up leaves its connection in the middle of an answer
    OSError,
    TimeoutError,
)
"""What asyncpg raises when the server is away, or will not do what is asked just now."""

_Q: Final = load_queries("processor")
_REFUSED: Final = ("22", "54", "23502", "23514")
"""SQLSTATE classes that blame the data: bad data, limits exceeded, not null, check."""

_json: Final = msgspec.json.Encoder().encode
_read_observation: Final = msgspec.json.Decoder(Observation).decode
_pack_headers: Final = msgspec.msgpack.Encoder().encode
_unpack_headers: Final = msgspec.msgpack.Decoder(list[tuple[str, bytes]]).decode


class Chunk(msgspec.Struct, frozen=True):
    """Stored outputs that end between two causes: with them, everything before `end` is published."""

    outputs: Sequence[Output]
    end: int


class Store:
    """One raw topic's tables."""

    def __init__(self, pool: Pool, reached: Reached) -> None:
        """Keep the pool. Every method takes a connection for its own time."""
        self._pool = pool
        self._reached = reached

    async def claim(self, partition: int, stream: Stream, log_start: int) -> Cursor:
        """Take a partition over: from now on no earlier claim can write it.

        A partition seen for the first time starts at `log_start`. While a recovery is under way, or where the
        database belongs to another stream, the cursor is only looked at.
        """
        epoch = secrets.randbits(63)
        async with self._pool.acquire() as connection:
            await connection.execute(
                _Q["create_cursor"], partition, stream.raw_topic, stream.partitions, stream.consumer_group, log_start
            )
            claiming = asyncio.ensure_future(connection.fetchrow(_Q["claim_cursor"], partition, epoch))
            try:
                done, _ = await asyncio.wait([claiming], timeout=CLAIM_PATIENCE_SECONDS)
                if not done:
                    async with self._pool.acquire() as other:
                        await other.execute(_Q["blockers"], connection.get_server_pid())
                row = await claiming
            finally:
                claiming.cancel()
        if row is not None:
            return read_cursor(row)
        return await self.look(partition, stream, log_start)

    async def look(self, partition: int, stream: Stream, log_start: int) -> Cursor:
        """Return a partition's cursor without claiming it, or how it would begin."""
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(
                _Q["look_at_cursor"], partition, stream.raw_topic, stream.partitions, stream.consumer_group
            )
        if row is not None and row["raw_partition"] == partition:
            return read_cursor(row)
        known = stream if row is None else read_cursor(row).stream
        return Cursor(
            raw_topic=known.raw_topic,
            partitions=known.partitions,
            consumer_group=known.consumer_group,
            next_offset=log_start,
            emitted=log_start,
            epoch=0,
        )

    async def load(self, shipment_ids: Iterable[str]) -> dict[str, Shipment]:
        """Return those of the shipments that anything is known of."""
        ids = sorted(shipment_ids)
        if not ids:
            return {}
        async with self._pool.acquire() as connection:
            known = await connection.fetch(_Q["load_versions"], ids)
            rows = await connection.fetch(_Q["load_observations"], ids)
        versions = {shipment_id: version for shipment_id, _, version in known}
        couriers = {shipment_id: courier for shipment_id, courier, _ in known}
        histories: dict[str, list[tuple[Observation, str | None]]] = {shipment_id: [] for shipment_id in versions}
        for shipment_id, incarnation, partition, offset, kind, reading in rows:
            refusal = anomaly_id(shipment_id, f"{partition}:{offset}", incarnation, _ILLEGAL)
            observation = _read_observation(reading)
            couriers[shipment_id] = observation.courier
            histories.setdefault(shipment_id, []).append((observation, refusal if kind == _ILLEGAL else None))
        return {
            shipment_id: rebuild(COURIERS[couriers[shipment_id]], shipment_id, versions.get(shipment_id, 0), history)
            for shipment_id, history in histories.items()
        }

    async def apply(self, partition: int, held: Cursor, moved: Cursor, plan: Plan, now: datetime) -> None:
        """Write a batch and move the cursor from `held` to `moved`, in one transaction.

        Raises:
            ClaimLostError: another claim has taken the partition over.
            UnstorableError: the database refuses a value of the batch. Nothing was written.

        """
        shipments = _shipment_columns(plan, now)
        observations = [_observation_record(row, held.incarnation, now) for row in plan.observations]
        outputs = [output_record(output, held.incarnation) for output in plan.outputs]
        assert moved.last is not None
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                advanced = await connection.fetchval(
                    _Q["advance_cursor"],
                    partition,
                    held.epoch,
                    held.next_offset,
                    moved.next_offset,
                    moved.emitted,
                    moved.last.offset,
                    moved.last.digest,
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
                self._reached(Step.WRITTEN)
        except asyncpg.PostgresError as error:
            if blames_data(error.sqlstate):
                raise UnstorableError(f"{error.sqlstate}: {type(error).__name__}") from error
            raise
        except UnicodeEncodeError as error:
            raise UnstorableError("a text that is no UTF-8") from error

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
            rows = await self._outputs(partition, cursor, start, end, STORED_CHUNK)
            outputs = [_stored_output(partition, row) for row in rows]
            if len(outputs) < STORED_CHUNK:
                yield Chunk(outputs, end)
                return
            start = outputs[-1].cause
            if outputs[0].cause == start:
                # One cause has more, as the corrections of a recovery may: they are published together.
                rows = await self._outputs(partition, cursor, start, start + 1, None)
                start += 1
                yield Chunk([_stored_output(partition, row) for row in rows], start)
            else:
                yield Chunk([output for output in outputs if output.cause < start], start)

    async def _outputs(self, partition: int, cursor: Cursor, start: int, end: int, limit: int | None) -> list[Any]:
        async with self._pool.acquire() as connection:
            rows: list[Any] = await connection.fetch(
                _Q["outputs_between"], partition, cursor.incarnation, start, end, limit
            )
        return rows


def blames_data(sqlstate: str | None) -> bool:
    """Whether an error is the data's fault. All others wait and retry."""
    return (sqlstate or "").startswith(_REFUSED)


def read_cursor(row: Any) -> Cursor:
    """Read a row of `cursors`."""
    values = dict(row)
    del values["raw_partition"]
    offset, found = values.pop("last_offset"), values.pop("last_digest")
    return Cursor(**values, last=None if offset is None else Fingerprint(offset, found))


_ILLEGAL: Final = AnomalyKind.ILLEGAL_TRANSITION
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
)
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
    personal = {
        "driver": details.driver,
        "signed_by": details.signed_by,
        "tracking_url": details.tracking_url,
        "proofs": details.proofs,
    }
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
        _text(personal),
        snapshot.occurred.at,
        snapshot.occurred.source,
        shipment.version,
        now,
    )


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
        _text(row.observation),
        now,
    )


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
