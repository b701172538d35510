"""What a batch writes: its rows, made beforehand, and one statement a table."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Self

import msgspec

from processor.core.cursor import Cursor
from processor.core.errors import ClaimLostError
from processor.core.plan import Plan
from processor.storage.erasure import erase, retire
from processor.storage.outputs import OUTPUT_COLUMNS, output_record
from processor.storage.rows import (
    COMMAND_COLUMNS,
    OBSERVATION_COLUMNS,
    ShipmentRow,
    command_record,
    json_text,
    observation_record,
    shipment_rows,
    traced,
)
from runtime.postgres import Connection
from runtime.queries import load_queries
from schemas.topics import Topic

_Q: Final = load_queries("processor.storage")


class BatchRows(msgspec.Struct, frozen=True):
    """The rows that a batch adds or changes, table by table.

    `records` counts the raw records, `rowless` those of them that have neither an observation nor a dead letter.
    `erased` and `retired` are the ids of shipments whose stored rows have to follow.
    """

    shipments: Sequence[ShipmentRow]
    observations: Sequence[tuple[Any, ...]]
    outputs: Sequence[tuple[Any, ...]]
    commands: Sequence[tuple[Any, ...]]
    erased: Sequence[str]
    retired: Sequence[str]
    records: int
    rowless: int
    now: datetime

    @classmethod
    def of(cls, plan: Plan, incarnation: int, now: datetime) -> Self:
        """Return the rows of a plan that is applied `now`."""
        observations = [
            observation_record(row, plan.shipments, incarnation, now) for row in plan.observations if row.stored
        ]
        if plan.traces:
            observations = [traced(record, plan.traces) for record in observations]
        records = len(plan.observations) + len(plan.dead_letters)
        letters = sum(output.topic is Topic.DEAD_LETTERS for output in plan.outputs)
        return cls(
            shipment_rows(plan, now),
            observations,
            [output_record(output, incarnation) for output in plan.outputs if output.topic is not Topic.EVENTS],
            [command_record(command, now) for command in plan.commands],
            list(plan.erased),
            list(plan.retired),
            records,
            records - len(observations) - letters,
            now,
        )


async def write_batch(connection: Connection, partition: int, held: Cursor, moved: Cursor, rows: BatchRows) -> None:
    """Write a batch and move the cursor from `held` to `moved`, over a connection in a transaction.

    Raises:
        ClaimLostError: another claim has taken the partition over.
        StoredRowError: what is to be erased cannot be read.

    """
    last = moved.last
    advanced = await connection.fetchval(
        _Q["advance_cursor"],
        partition,
        held.epoch,
        held.next_offset,
        moved.next_offset,
        moved.emitted,
        last and last.offset,
        last and last.digest,
        rows.records,
        rows.rowless,
    )
    if advanced is None:
        raise ClaimLostError("another claim has taken the partition over")
    if rows.shipments:
        await connection.execute(_Q["upsert_shipments"], json_text(rows.shipments))
    if rows.observations:
        await connection.copy_records_to_table("observations", records=rows.observations, columns=OBSERVATION_COLUMNS)
    if rows.outputs:
        await connection.copy_records_to_table("outputs", records=rows.outputs, columns=OUTPUT_COLUMNS)
    if rows.commands:
        await connection.copy_records_to_table("applied_commands", records=rows.commands, columns=COMMAND_COLUMNS)
    if rows.erased:
        await erase(connection, rows.erased, rows.now)
    if rows.retired:
        await retire(connection, rows.retired, partition, held, moved.emitted, rows.now)
