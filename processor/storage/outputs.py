"""Stored outputs: the exact bytes to publish, until a claim knows them published, and for replays after that."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import msgspec

from processor.core.cursor import Cursor
from processor.core.errors import StoredRowError
from processor.core.outputs import Output, chunk_end
from processor.storage.rows import read_event
from runtime.postgres import Connections
from runtime.queries import load_queries
from schemas.records import AnyHeaders, coordinates, header_texts
from schemas.stored_event import event_bytes, traceparent_of
from schemas.topics import Topic
from schemas.traces import TRACEPARENT

STORED_CHUNK: Final = 2_000
STORED_BYTES: Final = 8 * 1024 * 1024
"""Stored outputs, and their bytes, published in one Kafka transaction by a claim. They are in memory a few times over,
and all partitions may be claimed at once; only what one cause has left is never cut."""

_Q: Final = load_queries("processor.storage")
_pack_headers: Final = msgspec.msgpack.Encoder().encode
_unpack_headers: Final = msgspec.msgpack.Decoder(list[tuple[str, bytes | None]]).decode

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
    "anomaly_kind",
    "recorded_at",
    "reason",
    "courier",
    "replay_of_partition",
    "replay_of_offset",
)

_NAME: Final = re.compile("[A-Za-z0-9_-]{1,64}", re.ASCII)
"""What a courier's name may be by which dead letters are looked up: an index holds it, a header may hold anything."""

_NOTHING: Final = ("", "", None, None)


class OutputChunk(msgspec.Struct, frozen=True):
    """Stored outputs that end between two causes: with them, everything before `end` is published."""

    outputs: Sequence[Output]
    end: int


async def stored_outputs(pool: Connections, partition: int, cursor: Cursor, start: int) -> AsyncIterator[OutputChunk]:
    """Return the outputs stored for the causes from `start` up to the cursor, in chunks. The last ends there.

    Each chunk is read over a connection of its own: its reader takes as long as publishing does.
    """
    end = cursor.next_offset
    while start < end:
        async with pool.acquire() as connection:
            place = partition, cursor.incarnation, start
            # A cause has at least one output: beyond so many the chunk has ended.
            sizes = await connection.fetch(_Q["sizes_between"], *place, end, STORED_CHUNK + 1)
            start = chunk_end(map(tuple, sizes), STORED_CHUNK, STORED_BYTES) or end
            rows = await connection.fetch(_Q["outputs_between"], *place, start)
        yield OutputChunk([read_output(partition, row) for row in rows], start)


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
        output.anomaly and output.anomaly.kind,
        output.recorded_at,
        *(found_by(output.headers) if output.topic is Topic.DEAD_LETTERS else _NOTHING),
    )


def found_by(headers: AnyHeaders) -> tuple[str, str, int | None, int | None]:
    """Return what a dead letter is looked up by: its reason, its courier, its root's partition and offset.

    Empty or None: the headers have none, or what can be none. A record that was not read again has no root but itself.
    """
    texts = header_texts(headers)
    courier = texts.get("courier", "")
    try:
        root: tuple[int | None, int | None] = coordinates(texts.get("replay-of", ""))
    except ValueError:
        root = None, None
    return texts.get("dlq-reason", ""), courier if _NAME.fullmatch(courier) else "", *root


def read_output(partition: int, row: Any) -> Output:
    """Read a row of `outputs_between`.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    if row["event"] is not None:
        return event_output(partition, row)
    try:
        return _output(partition, row)
    except (msgspec.DecodeError, UnicodeError, ValueError) as error:
        what = f"the output {partition}:{row['cause_offset']}/{row['ordinal']} of shipment {row['shipment_id']}"
        raise StoredRowError(what, error) from error


def event_output(partition: int, row: Any) -> Output:
    """Read an event that stands beside its observation.

    Raises:
        StoredRowError: it is of a form that this version cannot read.

    """
    event, traceparent = read_event(row), traceparent_of(row["event"])
    return Output(
        Topic.EVENTS,
        partition,
        row["cause_offset"],
        row["ordinal"],
        row["shipment_id"].encode(),
        event_bytes(event),
        row["recorded_at"],
        row["shipment_id"],
        row["version"],
        [(TRACEPARENT, traceparent.encode())] if traceparent else [],
        event,
    )


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
