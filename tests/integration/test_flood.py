"""A flood of dead letters stops a partition before it is emptied; a handful of garbage does not."""

from schemas.topics import Topic
from tests.integration.recovering import Lab, OpenLab, one_more, side_by_side  # noqa: F401 - a fixture
from tests.integration.system import START, Raw, lives, until

FLOOD = 3_000


def garbage(count: int) -> list[Raw]:
    return [
        Raw(b"digest-1", b"{%d" % number, [("courier", b"dash")], int(START.timestamp() * 1000))
        for number in range(count)
    ]


async def flood(lab: Lab) -> None:
    await lab.system.append(garbage(FLOOD))
    await lab.system.append(lives(3))
    async with lab.running():
        await lab.halted()
        assert len(await lab.system.read(Topic.DEAD_LETTERS)) < FLOOD / 2
        # Nothing for `waybill recover`: somebody has to look.
        code, said = await lab.waybill("recover", "--dry-run")
        assert code == 0
        assert "nothing is to be mended" in said
    lab.set(WAYBILL_DLQ_MAX_RATIO="1")
    async with lab.running():
        await until(lab.system.caught_up)
    assert len(await lab.system.read(Topic.DEAD_LETTERS)) == FLOOD
    assert len(await lab.system.read(Topic.EVENTS)) == 3 * 7


async def handful(lab: Lab) -> None:
    await lab.system.append(garbage(50))
    async with lab.running():
        await until(lab.system.caught_up)
    assert len(await lab.system.read(Topic.DEAD_LETTERS)) == 50


async def test_a_flood_halts_and_a_handful_does_not(one_more: OpenLab) -> None:  # noqa: F811
    await side_by_side([flood, handful], one_more)
