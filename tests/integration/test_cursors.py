"""Where PostgreSQL and Kafka disagree about how far a partition is: each row, made as Kafka's own tools make it."""

import asyncio
import signal
from collections import Counter

import pytest
from aiokafka.admin import NewPartitions

from processor.protocol.crash_points import Step
from runtime.kafka import admin_client
from schemas.topics import Topic
from tests.integration.operating import asked, waybill
from tests.integration.recovering import Lab, OpenLab, one_more, side_by_side  # noqa: F401 - a fixture
from tests.integration.system import PARTITIONS, assert_exactly_once, lives
from tests.waiting import until


async def missing(lab: Lab) -> None:
    """An expired offset: what PostgreSQL knows to be published counts."""
    await lab.system.append(lives(5))
    await lab.process()
    await lab.offsets("--delete-offsets")
    await lab.system.append(lives(5, "NEXT"))
    await lab.process()
    await assert_exactly_once(lab.system)


async def behind(lab: Lab) -> None:
    """An offset moved back: the same events again, with the same ids and bytes, and nothing else."""
    await lab.system.append(lives(5))
    await lab.process()
    before, rows = await lab.events(), await lab.system.rows("select * from shipments order by shipment_id")
    await lab.offsets("--reset-offsets", "--to-earliest", "--execute")
    async with lab.running():

        async def published_again() -> bool:
            return len(await lab.events()) >= 2 * len(before)

        await until(published_again)
        await lab.system.append(lives(1, "NEXT"))
        await until(lab.system.caught_up)
    after = await lab.events()
    assert Counter(event for event in after if "NEXT" not in event[0]) == Counter(dict.fromkeys(before, 2))
    assert len(after) == 2 * len(before) + 7
    known = await lab.system.rows("select * from shipments where shipment_id not like '%NEXT%' order by shipment_id")
    assert known == rows


async def ahead(lab: Lab) -> None:
    """An offset moved ahead of what is published: it means nothing."""
    await lab.system.append(lives(5))
    await lab.process()
    await lab.system.append(lives(5, "NEXT"))
    async with lab.system.processor(Step.STORED) as dying:
        await asyncio.wait_for(dying.wait(), 60)
        assert dying.returncode == -signal.SIGKILL
    await lab.offsets("--reset-offsets", "--to-latest", "--execute")
    await lab.process()
    await assert_exactly_once(lab.system)


async def test_a_committed_offset_that_others_moved(one_more: OpenLab) -> None:  # noqa: F811
    await side_by_side([missing, behind, ahead], one_more)


async def retention(lab: Lab) -> None:
    """Records are gone before they were applied: only their partition stops."""
    await lab.system.append(lives(5))
    await lab.process()
    ends = [row["next_offset"] for row in await lab.system.rows("select * from cursors order by raw_partition")]
    await lab.system.append(lives(10, "GONE"))
    await lab.delete_records(0, ends[0] + 3)
    async with lab.running():
        await lab.halted()
        await until(lambda: lab.is_applied(1))
        assert not await lab.is_applied(0)
        done = await lab.recover("retention")
        assert done["partitions"][0]["lost_records"] == 3
        await lab.ready()
        await until(lab.system.caught_up)
    ids = [name for name, _ in await lab.events()]
    assert len(ids) == len(set(ids))


async def made_anew_and_shorter(lab: Lab) -> None:
    await lab.system.append(lives(20))
    await lab.process()
    await _make_anew(lab)
    await lab.system.append(lives(1, "NEW"))
    await _stops_until_recovered(lab)
    await _knows_both(lab, 20 + 1)


async def made_anew_and_longer(lab: Lab) -> None:
    await lab.system.append(lives(8))
    await lab.process()
    await _make_anew(lab)
    await lab.system.append(lives(30, "NEW"))
    await _stops_until_recovered(lab)
    await _knows_both(lab, 8 + 30)


async def another_group(lab: Lab) -> None:
    await lab.system.append(lives(5))
    await lab.process()
    lab.set(WAYBILL_PROCESSOR_GROUP_ID="other")
    await lab.system.append(lives(5, "NEXT"))
    async with lab.running():
        await lab.halted()
        await lab.recover("stream", "stream")
        await lab.ready()
        await until(lab.system.caught_up)
    await assert_exactly_once(lab.system)


async def more_partitions(lab: Lab) -> None:
    """Every partition stops, the new one too: a shipment must not have two writers."""
    await lab.system.append(lives(5))
    async with lab.system.processor(Step.STORED) as dying:
        await asyncio.wait_for(dying.wait(), 60)
    await _grow(lab, *map(lab.system.settings.topic, Topic))
    async with lab.running():
        await lab.halted()
        await lab.recover("stream", "stream")
        await lab.ready()
        await until(lab.system.caught_up)
        assert await lab.system.rows("select distinct partitions from cursors") == [(PARTITIONS + 1,)]
    ids = [name for name, _ in await lab.events()]
    assert len(ids) == len(set(ids)) > 0


async def raw_grown_alone(lab: Lab) -> None:
    """What the new partition gives cannot be published: it stands still, the old ones go on, and nothing dies."""
    await lab.system.append(lives(5))
    await lab.process()
    others = [lab.system.settings.topic(topic) for topic in Topic if topic is not Topic.RAW]
    await _grow(lab, lab.raw)
    for command in (("recover", "--yes"), ("recover", "--dry-run")):
        refused = await waybill(lab.system, *command, code=1)
        assert all(f"{name} {PARTITIONS}" in refused for name in others), refused
    assert [each["behind"] for each in (await asked(lab.system, "lag"))["partitions"]] == [0] * (PARTITIONS + 1)
    async with lab.running() as processor:
        await lab.halted()
        await lab.system.append(lives(3, "NEXT"))  # as a producer that has not noticed yet
        await until(lambda: _is_published(lab, 7 * 8))
        found = [each for each in (await asked(lab.system, "doctor", code=1))["findings"] if each["what"] == "cursors"]
        assert [each["level"] for each in found] == ["fail"]
        assert others[0] in found[0]["found"]
        await _grow(lab, *others)
        await lab.halted()
        await lab.recover(*["stream"] * PARTITIONS)
        await lab.ready()
        assert processor.returncode is None
    assert await lab.system.rows("select distinct partitions from cursors") == [(PARTITIONS + 1,)]
    ids = [name for name, _ in await lab.events()]
    assert len(ids) == len(set(ids)) == 7 * 8


async def _grow(lab: Lab, *names: str) -> None:
    async with admin_client(lab.system.settings) as admin:
        await admin.create_partitions({name: NewPartitions(PARTITIONS + 1) for name in names})


async def _is_published(lab: Lab, events: int) -> bool:
    return len(await lab.events()) == events


async def test_what_cannot_heal_stops_until_it_is_recovered(one_more: OpenLab) -> None:  # noqa: F811
    tries = [retention, made_anew_and_shorter, made_anew_and_longer, another_group, more_partitions, raw_grown_alone]
    await side_by_side(tries, one_more)


@pytest.mark.parametrize("arguments", [["recover"], ["recover", "--json"]])
async def test_recover_asks_for_yes_where_nobody_can_be_asked(one_more: OpenLab, arguments: list[str]) -> None:  # noqa: F811
    lab = await one_more()
    assert (await lab.waybill(*arguments))[0] == 2
    assert (await lab.waybill(*arguments, "--yes"))[0] == 0


async def _stops_until_recovered(lab: Lab) -> None:
    async with lab.running():
        await lab.halted()
        await lab.recover("anew", "anew")
        await lab.ready()
        await until(lab.system.caught_up)


async def _knows_both(lab: Lab, shipments: int) -> None:
    """Both topics' webhooks have had their effect once."""
    ids = [name for name, _ in await lab.events()]
    assert len(ids) == len(set(ids)) == 7 * shipments
    assert len(await lab.system.rows("select * from shipments where version = 7")) == shipments


async def _make_anew(lab: Lab) -> None:
    async with admin_client(lab.system.settings) as admin:
        await admin.delete_topics([lab.raw])

    async def made() -> bool:
        return (await lab.waybill("topics", "apply"))[0] == 0

    await until(made)
