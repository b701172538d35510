"""The processor's side of PostgreSQL: cursors, and one transaction a batch with one statement a table."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from processor.claims import Cursor, Stream
from processor.errors import ClaimLostError, UnstorableError
from processor.outputs import Output
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

DATABASE_ERRORS: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError)
"""What asyncpg raises when the server is away, or will not do what is asked just now."""

_Q: Final = load_queries("processor")
_REFUSED: Final = ("22", "54", "23502", "23514")
"""SQLSTATE classes that blame the data: bad data, limits exceeded, not null, check. All others wait and retry."""

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

    def __init__(self, pool: Pool, stream: Stream, reached: Reached) -> None:
        """Keep the pool. Every method takes a connection for its own time."""
        self._pool = pool
        self._stream = stream
        self._reached = reached

    async def claim(self, partition: int, log_start: int) -> Cursor:
        """Take a partition over: from now on no earlier claim can write it.

        A partition seen for the first time starts at `log_start`.
        """
        epoch = secrets.randbits(63)
        stream = self._stream
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
        return Cursor(**dict(row), epoch=epoch)

    async def load(self, shipment_ids: Iterable[str]) -> dict[str, Shipment]:
        """Return those of the shipments that anything is known of."""
        ids = sorted(shipment_ids)
        if not ids:
            return {}
        async with self._pool.acquire() as connection:
            versions = dict(await connection.fetch(_Q["load_versions"], ids))
            rows = await connection.fetch(_Q["load_observations"], ids)
        histories: dict[str, list[tuple[Observation, str | None]]] = {}
        for shipment_id, partition, offset, kind, reading in rows:
            refusal = f"{shipment_id}/anomaly/{partition}:{offset}/{kind}" if kind == _ILLEGAL else None
            histories.setdefault(shipment_id, []).append((_read_observation(reading), refusal))
        return {
            shipment_id: rebuild(COURIERS[history[0][0].courier], shipment_id, versions.get(shipment_id, 0), history)
            for shipment_id, history in histories.items()
        }

    async def apply(self, partition: int, cursor: Cursor, after: int, emitted: int, plan: Plan, now: datetime) -> None:
        """Write a batch and move the cursor from `cursor.next_offset` to `after`, in one transaction.

        Raises:
            ClaimLostError: another claim has taken the partition over.
            UnstorableError: the database refuses a value of the batch. Nothing was written.

        """
        shipments = _shipment_columns(plan, now)
        observations = [_observation_record(row, now) for row in plan.observations]
        outputs = [_output_record(output) for output in plan.outputs]
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                moved = await connection.fetchval(
                    _Q["advance_cursor"], partition, cursor.epoch, cursor.next_offset, after, emitted
                )
                if moved is None:
                    raise ClaimLostError("another claim has taken the partition over")
                if shipments:
                    await connection.execute(_Q["upsert_shipments"], *shipments)
                if observations:
                    await connection.copy_records_to_table(
                        "observations", records=observations, columns=_OBSERVATION_COLUMNS
                    )
                if outputs:
                    await connection.copy_records_to_table("outputs", records=outputs, columns=_OUTPUT_COLUMNS)
                self._reached(Step.WRITTEN)
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "").startswith(_REFUSED):
                raise UnstorableError(f"{error.sqlstate}: {type(error).__name__}") from error
            raise
        except UnicodeEncodeError as error:
            raise UnstorableError("a text that is no UTF-8") from error

    async def note_emitted(self, partition: int, cursor: Cursor, emitted: int) -> None:
        """Remember how far is published, when no batch comes along to carry it."""
        async with self._pool.acquire() as connection:
            await connection.execute(_Q["note_emitted"], partition, cursor.epoch, emitted)

    async def stored(self, partition: int, start: int, end: int) -> AsyncIterator[Chunk]:
        """Return the outputs stored for the causes from `start` up to `end`, in chunks. The last ends at `end`."""
        while start < end:
            async with self._pool.acquire() as connection:
                rows = await connection.fetch(_Q["outputs_between"], partition, start, end, STORED_CHUNK)
            outputs = [_stored_output(partition, row) for row in rows]
            if len(outputs) < STORED_CHUNK:
                yield Chunk(outputs, end)
                return
            start = outputs[-1].cause
            yield Chunk([output for output in outputs if output.cause < start], start)


_ILLEGAL: Final = AnomalyKind.ILLEGAL_TRANSITION
_OBSERVATION_COLUMNS: Final = (
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
_OUTPUT_COLUMNS: Final = (
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


def _observation_record(row: ObservationRow, now: datetime) -> tuple[Any, ...]:
    return (
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


def _output_record(output: Output) -> tuple[Any, ...]:
    return (
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
