"""A flood of dead letters is held back before the topic is emptied into them, and stops nobody else's parcels."""

from schemas.couriers import COURIERS
from schemas.partitioning import partition_of
from schemas.records import Provenance
from schemas.topics import Topic
from tests.integration.recovering import Lab, OpenLab, one_more, side_by_side  # noqa: F401 - a fixture
from tests.integration.system import PARTITIONS, START, Raw, lives
from tests.waiting import until

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


def items(count: int) -> list[Raw]:
    """One webhook of so many items that name no shipment, some in each partition, as the door makes them of it."""
    pieces = COURIERS["kiriminaja"].split(
        b'{"method":"processed_packages","data":[' + b",".join([b"{}"] * count) + b"]}"
    )
    assert len(pieces) == count
    return [
        Raw(
            f"digest-{place}".encode(),
            piece.value,
            Provenance(courier="kiriminaja", received_at=START, webhook_id="one", item=place, items=count).headers(),
            int(START.timestamp() * 1000),
        )
        for place, piece in enumerate(pieces, 1)
    ]


async def one_body(lab: Lab) -> None:
    await lab.system.append(items(5_000))
    await lab.system.append(lives(3))
    async with lab.running():
        await until(lab.system.caught_up)
        assert (await lab.parts())["running"]
    assert len(await lab.system.read(Topic.DEAD_LETTERS)) == 5_000
    assert len(await lab.system.read(Topic.EVENTS)) == 3 * 7


async def the_others_go_on(lab: Lab) -> None:
    """Dash's webhooks are a flood. KiriminAja's parcel stands in the middle of them; behind it Dash's are held back."""
    key = b"kiriminaja:KA-1"
    body = b'{"method":"finished_packages","data":[{"order_id":"KA-1","finished_at":"2026-11-01 10:00:00"}]}'
    parcel = Raw(key, body, Provenance(courier="kiriminaja", received_at=START).headers(), 0)
    flooded = [each for each in garbage(2 * FLOOD) if each.key == b"digest-1"]
    home = partition_of(key, PARTITIONS)
    name = next(name for name in (b"a", b"b", b"c", b"d") if partition_of(name, PARTITIONS) == home)
    flooded = [Raw(name, each.value, each.headers, each.timestamp_ms) for each in flooded]
    await lab.system.append([*flooded[:FLOOD], parcel, *flooded[FLOOD:]])
    async with lab.running():
        await lab.halted()
        await until(lambda: events_are(lab, 1))
        assert len(await lab.system.read(Topic.DEAD_LETTERS)) == FLOOD
        await lab.system.append([parcel])  # a duplicate behind all of them
        await until(lab.system.caught_up)
    assert len(await lab.system.read(Topic.DEAD_LETTERS)) == 2 * FLOOD
    assert len(await lab.system.read(Topic.EVENTS)) == 1


async def events_are(lab: Lab, count: int) -> bool:
    return len(await lab.system.read(Topic.EVENTS)) == count


async def test_a_flood_is_held_back_and_stops_nobody_else(one_more: OpenLab) -> None:  # noqa: F811
    await side_by_side([flood, handful, one_body, the_others_go_on], one_more)
