"""What a batch stores, as the statements of the processor give it back."""

from collections.abc import Mapping
from typing import Any

from processor.storage.batch import BatchRows
from processor.storage.outputs import OUTPUT_COLUMNS
from processor.storage.rows import OBSERVATION_COLUMNS
from schemas.topics import Topic


def stored_outputs(batch: BatchRows) -> Mapping[tuple[int, int], dict[str, Any]]:
    """Return the rows of `outputs_between`, by cause and ordinal."""
    rows = [dict(zip(OUTPUT_COLUMNS, values, strict=True)) | {"event": None} for values in batch.outputs]
    for values in batch.observations:
        row = dict(zip(OBSERVATION_COLUMNS, values, strict=True))
        if row["event"] is not None:
            root = (row["replay_of_partition"], row["replay_of_offset"])
            read = (row["raw_partition"], row["raw_offset"]) if None in root else root
            place = {"topic": Topic.EVENTS, "cause_offset": row["raw_offset"], "ordinal": 0}
            rows.append({**row, **place, "root_partition": read[0], "root_offset": read[1]})
    return {(row["cause_offset"], row["ordinal"]): row for row in rows}
