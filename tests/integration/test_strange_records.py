"""Strange records, and strange rows, on the real stores: nothing is lost, and nothing else stands still."""

import asyncio
import signal

import msgspec
import pytest_asyncio

from processor.protocol.crash_points import Step
from schemas.observation import Dismiss
from schemas.stored_observation import read_observation
from schemas.topics import Topic
from tests.integration.operating import assert_conserved
from tests.integration.recovering import Lab, OpenLab, one_more, side_by_side  # noqa: F401 - a fixture
from tests.integration.strange import STRANGE, append
from tests.integration.system import System, assert_exactly_once, lives, open_system
from tests.waiting import until

HOME = 0
"""The partition of the parcels that the strange records are about."""


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    return await open_system(kafka_bootstrap_servers, database_url, topic_prefix)


async def test_strange_records_have_one_fate_each_whatever_dies(system: System) -> None:
    """A processor dies with all of them stored and none published; another one takes over."""
    await system.append(lives(5))
    appended = await append(system, STRANGE, HOME)
    async with system.processor(Step.STORED, 1) as dying:
        assert await asyncio.wait_for(dying.wait(), 60) == -signal.SIGKILL
    async with system.processor() as processor:
        await until(system.caught_up)
        processor.terminate()
        assert await asyncio.wait_for(processor.wait(), 15) == 0
    await assert_exactly_once(system)
    await assert_conserved(system)
    letters = {
        int(dict(record.headers)["dlq-offset"]): record
        for record in await system.read(Topic.DEAD_LETTERS)
        if ("dlq-partition", str(HOME).encode()) in record.headers
    }
    for strange, offset in appended:
        if strange.reason is None:
            assert offset not in letters
            continue
        letter = letters[offset]
        assert dict(letter.headers)["dlq-reason"] == strange.reason.encode(), strange
        assert dict(letter.headers).get("dlq-cut") == (b"value" if strange.cut else None)
        assert (letter.key, letter.value) == (strange.key, None if strange.cut else strange.value)
        assert list(letter.headers[: len(strange.headers)]) == list(strange.headers)


async def unreadable_reading(lab: Lab) -> None:
    """A newer version stored a reading in a form that this one does not know."""
    await lab.system.append(lives(6))
    await lab.process()
    known = await lab.system.rows("select count(*) from observations where raw_partition = 1")
    await lab.system.execute(
        "update observations set said = '\\x7f'::bytea || substring(said from 2) where shipment_id = 'dash:DE-0'"
    )
    await lab.system.append(lives(6))
    async with lab.running():
        await lab.halted()
        await until(lambda: lab.is_applied(1))
        assert not await lab.is_applied(0)
    assert (await lab.system.rows("select count(*) from observations where raw_partition = 1"))[0][0] > known[0][0]
    code, said = await lab.waybill("shipment", "show", "dash:DE-0")
    assert code == 1, said
    await lab.system.execute(
        "update observations set said = '\\x01'::bytea || substring(said from 2) where shipment_id = 'dash:DE-0'"
    )
    await lab.process()


async def unreadable_output(lab: Lab) -> None:
    """A newer version stored an event that it did not publish any more."""
    await lab.system.append(lives(6))
    async with lab.system.processor(Step.STORED, 1) as dying:
        assert await asyncio.wait_for(dying.wait(), 60) == -signal.SIGKILL
    (unpublished,) = await lab.system.rows(
        "select raw_partition, raw_offset, event from observations where event is not null "
        "order by raw_offset desc limit 1"
    )
    partition, cause, event = unpublished
    at = f"where raw_partition = {partition} and raw_offset = {cause}"
    await lab.system.execute(f"update observations set event = 'none of ours' {at}")
    async with lab.running():
        await lab.halted()
        await until(lambda: lab.is_applied(1 - partition))
    mended = bytes(event).hex()
    await lab.system.execute(f"update observations set event = '\\x{mended}' {at}")
    await lab.process()
    await assert_exactly_once(lab.system)


async def stored_before_a_check(lab: Lab) -> None:
    """A decision of an older version, in the form of its time, is longer than today's may be."""
    await lab.system.append(lives(2))
    await lab.process()
    where = "where shipment_id = 'dash:DE-0' and version = 2"
    (row,) = await lab.system.rows(f"select shipment_id, reading, said from observations {where}")
    long = Dismiss(shipment_id="dash:DE-0", by="dewi", reason="r" * 9_000, anomaly_id="a")
    older = msgspec.structs.replace(read_observation(*row), status=None, decision=long)
    reading = msgspec.json.encode(older).decode()
    await lab.system.execute(f"update observations set said = null, reading = '{reading}' {where}")
    await lab.system.append(lives(2))
    await lab.process()


async def test_a_stored_row_that_cannot_be_read_stops_one_partition_at_most(one_more: OpenLab) -> None:  # noqa: F811
    await side_by_side([unreadable_reading, unreadable_output, stored_before_a_check], one_more)
