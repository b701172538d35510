"""Stored outputs are published in chunks that end between causes, however many a cause has."""

import pytest

from processor import store as store_module
from processor.claims import Cursor
from processor.steps import no_one
from processor.store import Store
from runtime.postgres import open_pool
from tests.integration.recovering import OpenLab, one_more  # noqa: F401 - a fixture

CHUNK = 4


@pytest.mark.parametrize(
    "counts", [[], [1], [4], [9], [1, 9, 1], [2, 2, 2, 2], [3, 3, 3], [4, 4], [1, 4, 0, 4, 1], [0, 0, 5, 5, 0]]
)
async def test_chunks_end_between_causes(
    one_more: OpenLab,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    counts: list[int],
) -> None:
    monkeypatch.setattr(store_module, "STORED_CHUNK", CHUNK)
    lab = await one_more()
    for cause, count in enumerate(counts):
        await lab.system.execute(
            "insert into outputs (raw_partition, incarnation, cause_offset, ordinal, topic, value, recorded_at) "
            f"select 0, 7, {cause}, n, 'shipment.events', '', now() from generate_series(1, {count}) n"
        )
    await lab.system.execute(
        "insert into outputs (raw_partition, cause_offset, ordinal, topic, value, recorded_at) "
        "values (0, 0, 0, 'shipment.events', 'of another incarnation', now())"
    )
    cursor = Cursor(
        raw_topic="raw",
        partitions=1,
        consumer_group="group",
        next_offset=len(counts),
        emitted=0,
        epoch=0,
        incarnation=7,
    )
    async with await open_pool(lab.system.settings, "test", 1) as pool:
        chunks = [chunk async for chunk in Store(pool, no_one).stored(0, cursor, 0)]
    found = [(output.cause, output.ordinal) for chunk in chunks for output in chunk.outputs]
    assert found == [(cause, each + 1) for cause, count in enumerate(counts) for each in range(count)]
    start = 0
    for chunk in chunks:
        assert all(start <= output.cause < chunk.end for output in chunk.outputs)
        start = chunk.end
    assert start == len(counts)
