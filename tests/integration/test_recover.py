"""`waybill recover` after a database was restored from a backup: no id is ever given twice, whenever it is killed."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from processor.protocol.crash_points import Step
from runtime import migrations
from schemas.topics import Topic
from tests import forking
from tests.integration.recovering import Lab, OpenLab, one_more, side_by_side  # noqa: F401 - a fixture
from tests.integration.system import START, Raw, assert_exactly_once, dash, lives, raw_records
from tests.waiting import until


async def restored(lab: Lab) -> None:
    """What was published since the dump is derived again; nothing differs, so nothing is published."""
    with TemporaryDirectory() as folder:
        dump = Path(folder) / "waybill.dump"
        await _live_and_restore(lab, lambda: lab.dump(dump), lambda: lab.restore_dump(dump))
    await _recover_while_running(lab)
    await lab.system.append(lives(3, "LAST"))
    await _catch_up(lab)
    await assert_exactly_once(lab.system)


async def restored_while_nothing_comes(lab: Lab) -> None:
    """A processor that has nothing to do sees it too."""
    await lab.system.append(lives(3))
    await lab.process()
    await lab.back_up()
    async with lab.running():
        await lab.system.append(lives(3, "MORE"))
        await until(lab.system.caught_up)
        await lab.restore()
        await lab.halted()
        await lab.recover("restored", "restored")
        await lab.ready()
    await assert_exactly_once(lab.system)


async def restored_with_less_to_derive(lab: Lab) -> None:
    """Retention took some of it meanwhile: where a shipment comes out different, one correction says so."""
    await lab.system.append(_early())
    await lab.process()
    await lab.back_up()
    await lab.system.append(_late())
    await lab.process()
    await lab.restore()
    for partition in (0, 1):
        (row,) = await lab.system.rows(f"select next_offset from cursors where raw_partition = {partition}")
        if not await lab.is_applied(partition):
            await lab.delete_records(partition, row["next_offset"] + 1)
    await _recover_while_running(lab, "retention")
    await lab.system.append(lives(1, "LAST"))
    await _catch_up(lab)
    events = [msgspec.json.decode(event) for _, event in await lab.events()]
    ids = [event["id"] for event in events]
    assert len(ids) == len(set(ids))
    corrections = [event for event in events if event["type"] == "shipment.corrected"]
    assert corrections
    assert len({event["shipment_id"] for event in corrections}) == len(corrections)
    await _topics_and_rows_agree(lab)


async def an_empty_database(lab: Lab) -> None:
    await lab.system.append(lives(8))
    await lab.process()
    await _empty(lab)
    await _recover_while_running(lab)
    await lab.system.append(lives(3, "LAST"))
    await _catch_up(lab)
    await assert_exactly_once(lab.system)


async def an_empty_database_and_half_a_log(lab: Lab) -> None:
    """Of some shipments only the published state is left: rows are made of it, versions go on behind it."""
    await lab.system.append(_early())
    await lab.process()
    for partition in (0, 1):
        (row,) = await lab.system.rows(f"select next_offset from cursors where raw_partition = {partition}")
        await lab.delete_records(partition, row["next_offset"])
    await lab.system.append(lives(8, "MORE"))
    await lab.process()
    await _empty(lab)
    await _recover_while_running(lab)
    await lab.system.append(_late())
    await _catch_up(lab)
    ids = [name for name, _ in await lab.events()]
    assert len(ids) == len(set(ids)) == 8 + 8 * 7 + len(_late())
    await _topics_and_rows_agree(lab)


def _early() -> list[Raw]:
    return [record for number in range(8) for record in raw_records("dash", dash(f"C-{number}", "VERIFIED", 1), START)]


def _late() -> list[Raw]:
    return [
        record
        for word, minute in (("PENDING_DELIVERY", 2), ("IN_DELIVERY", 3))
        for number in range(8)
        for record in raw_records("dash", dash(f"C-{number}", word, minute), START)
        if word == "PENDING_DELIVERY" or number < 4
    ]


async def test_a_restored_database(one_more: OpenLab) -> None:  # noqa: F811
    tries = [restored, restored_while_nothing_comes, restored_with_less_to_derive]
    await side_by_side([*tries, an_empty_database, an_empty_database_and_half_a_log], one_more)


def killed_at(step: Step) -> Callable[[Lab], Awaitable[None]]:
    async def killed(lab: Lab) -> None:
        await _live_and_restore(lab, lab.back_up, lab.restore)
        dying = await forking.start("tests.integration.dying_recover", step, environ=lab.system.environ)
        assert await asyncio.wait_for(dying.wait(), 60) == -signal.SIGKILL
        await _recover_while_running(lab)
        await lab.system.append(lives(3, "LAST"))
        await _catch_up(lab)
        await assert_exactly_once(lab.system)

    killed.__name__ = f"killed_at_{step}"
    return killed


async def test_a_recovery_killed_at_any_step_can_be_run_again(one_more: OpenLab) -> None:  # noqa: F811
    steps = [Step.CURSOR_CLAIMED, Step.STORED, Step.WRITTEN, Step.PLANNED]
    await side_by_side([killed_at(step) for step in steps], one_more)


async def _live_and_restore(
    lab: Lab, back_up: Callable[[], Awaitable[None]], restore: Callable[[], Awaitable[None]]
) -> None:
    await lab.system.append(lives(6))
    await lab.process()
    await back_up()
    await lab.system.append([*lives(6, "MORE"), *raw_records("dash", b"{", START)])
    await lab.process()
    await restore()


async def _empty(lab: Lab) -> None:
    await lab.system.execute("drop schema public cascade")
    await lab.system.execute("create schema public")
    await migrations.migrate(lab.system.settings)


async def _recover_while_running(lab: Lab, *first: str) -> None:
    """Mend the partitions under a running processor, which then goes on by itself."""
    async with lab.running():
        await lab.halted()
        code, said = await lab.waybill("recover", "--yes", "--json")
        assert code == 0, said
        assert msgspec.json.decode(said)["mended"] is True
        await lab.ready()
        await until(lab.system.caught_up)


async def _catch_up(lab: Lab) -> None:
    async with lab.running():
        await until(lab.system.caught_up)


async def _topics_and_rows_agree(lab: Lab) -> None:
    states = {each.key.decode(): msgspec.json.decode(each.value) for each in await lab.system.read(Topic.STATE)}
    rows = await lab.system.rows("select shipment_id, status, version from shipments")
    assert {row["shipment_id"]: (row["status"], row["version"]) for row in rows} == {
        name: (state["status"], state["version"]) for name, state in states.items()
    }
