"""Asking the courier from the console: the request, the reconcile service that answers it, what is told meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from devstack.couriers.lives import Life, lives
from devstack.couriers.simulator import Simulator
from devstack.couriers.webhooks import webhooks
from reconcile.service import serve
from tests.integration.operating import asked, running
from tests.integration.system import Raw, System
from tests.integration.test_console_actions import Acting, acting
from tests.integration.test_reconcile import BEGAN, received, simulator, system  # noqa: F401 - fixtures
from tests.waiting import DEADLINE, until


@asynccontextmanager
async def reconciling(system: System, *couriers: str) -> AsyncIterator[None]:  # noqa: F811
    """Run a reconcile service inside the test's own process."""
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(system.settings, couriers, stop))
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(DEADLINE):
            await serving


async def test_an_operator_has_the_courier_asked(system: System, simulator: Simulator) -> None:  # noqa: F811
    """The reference is one of the simulator's, whose moves no webhook has told."""
    system.set(WAYBILL_RECONCILE_STALE_AFTER="30d")
    simulator.add(*lives(40, 7, BEGAN))
    happened = simulator.grow_all()
    (name, first), (other, its) = (_told_first(happened, courier) for courier in ("dash", "kiriminaja"))
    await system.append([*first, *its])
    async with running(system), acting(system) as console:
        await until(system.caught_up)
        path = f"/do/ask?shipment={name}"
        await _it_waits_while_nobody_asks(console, system, path, name)
        async with reconciling(system, "dash"):
            await until(lambda: _is_answered(console, name))
            (line,) = (await console.told(f"/shipments/dash:{name}"))["asks"]
            assert line["outcome"] == "news", line
            await until(system.caught_up)
            assert (await console.told(f"/shipments/dash:{name}"))["snapshot"]["version"] > 1
            plan = await console.told(path)
            assert "it was last asked at" in plan["words"][-1]
            came = await console.act(path, "once more")
            assert came == {"words": ["the courier told nothing that was not known"], "whole": True, "event": None}
            said = await asked(system, "shipment", "ask", name, "--reason", "by hand", "--yes")
            assert said["request"]["outcome"] == "no_news"
            await _who_is_not_asked_is_told(console, other)
    entries = await system.rows("select operator, command from operator_log where command = 'shipment ask'")
    assert len(entries) == 4


def _told_first(happened: Sequence[Life], courier: str) -> tuple[str, list[Raw]]:
    """Return a courier's first parcel that moved on, and what its first webhook brought."""
    most = Counter(life.reference for life in happened)
    early = (each for each in happened if each.courier == courier and len(each.moves) < most[each.reference] - 1)
    life, sent = next((life, sent) for life in early if (sent := webhooks([life], "complete")))
    return life.reference, received(sent, [life])


async def _it_waits_while_nobody_asks(console: Acting, system: System, path: str, name: str) -> None:  # noqa: F811
    plan = await console.told(path)
    assert plan["words"][-1] == "no `waybill reconcile` runs: it waits until one does"
    form = await console.form(path)
    for came in await asyncio.gather(*(console.send(path, form, "where is it?") for _ in range(3))):
        assert (came["whole"], "no `waybill reconcile` runs" in came["words"][0]) == (False, True)
    again = await console.told(path)
    assert (again["possible"], "sari asked for it" in again["words"][-2]) == (False, True)
    (row,) = await system.rows("select shipment_id, operator, reason, ended_at from ask_requests")
    assert (row["shipment_id"], row["operator"], row["reason"]) == (f"dash:{name}", "sari", "where is it?")
    assert len(await system.rows("select from operator_log where command = 'shipment ask'")) == 1
    page = await console.page(f"/shipments/dash:{name}")
    assert "no `waybill reconcile` runs" in page
    assert 'hx-select="#asks"' in page


async def _is_answered(console: Acting, name: str) -> bool:
    (line,) = (await console.told(f"/shipments/dash:{name}"))["asks"]
    return line["ended_at"] is not None


async def _who_is_not_asked_is_told(console: Acting, reference: str) -> None:
    came = await console.act(f"/do/ask?shipment=kiriminaja:{reference}", "why is it silent?")
    assert "does not ask this courier: it was started without" in came["words"][0]
