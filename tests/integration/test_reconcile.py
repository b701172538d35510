"""Asking couriers, on the real stack: what webhooks lost is healed, nobody is asked too often, nothing crashes it."""

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Final

import aiohttp
import msgspec
import psutil
import pytest
import pytest_asyncio

from devstack.couriers import dash, kiriminaja
from devstack.couriers.lives import LONGEST, Life, lives, so_far, truth, untold
from devstack.couriers.misbehaviour import BROKEN, THROTTLED, UNAVAILABLE, Fickleness, Slow
from devstack.couriers.server import serving
from devstack.couriers.simulator import SIGN_IN, Account, Simulator
from devstack.couriers.webhooks import Mischief, Webhook, mangle, webhooks
from reconcile.drift import Watch
from runtime.metrics import ReconcileMetrics, new_registry
from runtime.postgres import open_pool
from schemas.couriers.base import NotFound
from schemas.records import Provenance
from schemas.topics import Topic
from schemas.vocabulary import Source
from tests.integration.operating import asked, events, running, start, waybill
from tests.integration.system import Raw, System, open_system, raw_records
from tests.unit.schemas.reading import answered
from tests.waiting import DEADLINE, until

KEY: Final = "merchant-k3y-Qm4"
CLIENT_KEY: Final = "client-k3y-Wv7"
CLIENT_SECRET: Final = "client-s3cret-Zt9"
SECRETS: Final = (KEY, CLIENT_KEY, CLIENT_SECRET)
TODAY: Final = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
BEGAN: Final = TODAY - LONGEST - timedelta(days=2)
"""A midnight: couriers tell some times in whole minutes, so which moves share one would depend on the clock."""

MOMENT: Final = timedelta(seconds=30)
"""How long after it happened a webhook is received."""

NO_REST: Final = "1ms"


@pytest.fixture
def simulator() -> Simulator:
    return Simulator(Account(KEY, CLIENT_KEY, CLIENT_SECRET))


@pytest_asyncio.fixture
async def system(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, simulator: Simulator
) -> AsyncIterator[System]:
    opened = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    async with serving(simulator) as url:
        yield System(
            {
                **opened.environ,
                "WAYBILL_KIRIMINAJA_API_URL": url,
                "WAYBILL_KIRIMINAJA_API_KEY": KEY,
                "WAYBILL_DASH_API_URL": url,
                "WAYBILL_DASH_CLIENT_KEY": CLIENT_KEY,
                "WAYBILL_DASH_CLIENT_SECRET": CLIENT_SECRET,
                "WAYBILL_RECONCILE_STALE_AFTER": NO_REST,
                "WAYBILL_RECONCILE_RATE": "200",
                "WAYBILL_RECONCILE_ADMIN_PORT": "0",
                "WAYBILL_LOG_LEVEL": "debug",
                "WAYBILL_LOG_FORMAT": "json",
            }
        )


def other(system: System, **settings: str) -> System:
    """The same system under other settings."""
    return System({**system.environ, **{f"WAYBILL_{name}": value for name, value in settings.items()}})


def received(sent: Sequence[Webhook], happened: Sequence[Life]) -> list[Raw]:
    """The raw records of webhooks as they arrive, each a moment after the last move it tells of."""
    times = {(life.reference, len(life.moves)): life.moves[-1].at for life in happened}
    return [
        record
        for webhook in sent
        for record in raw_records(
            webhook.courier, webhook.body, max(times[told.reference, told.move] for told in webhook.tells) + MOMENT
        )
    ]


async def statuses(system: System) -> dict[str, str]:
    rows = await system.rows("select courier_ref, status from shipments")
    return {row["courier_ref"]: row["status"] for row in rows}


CANCELLABLE: Final = {"CREATED", "ALLOCATING", "PENDING_PICKUP", "PICKING_UP"}


def cannot_heal(life: Life, before: str) -> bool:
    """Whether asking leaves it as it is: nobody asks about what was told to be final, though it was not the end.

    And CANCELLED is reached only by an edge of its own, never by a jump: a reassignment nobody heard of bars it.
    """
    express = (life.courier, life.service) == ("dash", "express")
    told_final = before in {"DELIVERED", "CANCELLED"} or (express and before == "FAILED")
    if told_final and before != truth(life):
        return True
    return express and life.moves[-1].word == "CANCELLED" and before not in CANCELLABLE


def healing(known: Sequence[Life], before: dict[str, str], truth: dict[str, str | None]) -> dict[str, str | None]:
    """What everybody who is known must come to."""
    barred = {life.reference for life in known if cannot_heal(life, before.get(life.reference, "CREATED"))}
    assert len(barred) < 0.05 * len(known)
    return {name: truth[name] for name in before.keys() - barred}


def these(found: dict[str, str], wanted: dict[str, str | None]) -> dict[str, str]:
    return {name: status for name, status in found.items() if name in wanted}


async def test_what_webhooks_lost_is_healed(system: System, simulator: Simulator) -> None:
    known = lives(150, 11, BEGAN)
    simulator.add(*known)
    happened = simulator.grow_all()
    mischief = Mischief(seed=5, drop=0.7, duplicate=0.2, shuffle=0.5, spare_first=True)
    sent = mangle(webhooks(happened, "complete", bulk=3), mischief)
    await system.append(received(sent.kept, happened))
    async with running(system):
        await until(system.caught_up)
        before = await statuses(system)
        truth = healing(known, before, simulator.truth())
        assert sum(before[name] != truth[name] for name in truth) > 50, "too little was lost"
        done = await asked(system, "reconcile", "--once")
        assert done["total"]["appended"] > 50
        assert done["given_up"] == {}
        await until(system.caught_up)
        assert these(await statuses(system), truth) == truth
        last = len(await events(system)), len(await system.read(Topic.RAW))
        again = await asked(system, "reconcile", "--once")
        assert again["total"]["asked"] == again["total"]["no_news"] > 0
        assert again["total"]["appended"] == 0
        await until(system.caught_up)
        assert (len(await events(system)), len(await system.read(Topic.RAW))) == last
        report = await asked(system, "reconcile", "report")
    metered = await metrics_of(system)
    for each in report["healed"]:
        assert metered("waybill_reconcile_healed_total", courier=each["courier"]) == each["shipments"]
    for each in report["statuses"]:
        labels = {"courier": each["courier"], "status": each["status"]}
        assert metered("waybill_reconcile_only_by_pull_total", **labels) == each["only_by_pull"]
    assert metered("waybill_reconcile_webhook_lateness_seconds", courier="dash", quantile="0.5") >= 0
    assert {each["courier"]: each["shipments"] > 5 for each in report["healed"]} == {"dash": True, "kiriminaja": True}
    told = {(each["courier"], each["status"]): each for each in report["statuses"]}
    assert told["dash", "DELIVERED"]["shipments"] > told["dash", "DELIVERED"]["only_by_pull"] > 0
    assert told["kiriminaja", "LOST"]["shipments"] == told["kiriminaja", "LOST"]["only_by_pull"] > 0
    assert "DELIVERED" in await waybill(system, "reconcile", "report", "--since", "1h")
    assert (await asked(system, "reconcile", "report", "--since", "1ms"))["statuses"] == []


async def metrics_of(system: System) -> Callable[..., float]:
    """What the service's metrics say of the last hour."""
    registry, now = new_registry(), datetime.now(UTC)
    async with await open_pool(system.settings, "test", 1) as pool:
        watch = Watch(pool, ReconcileMetrics(registry), now - timedelta(hours=1))
        await watch.look(now)
        await watch.look(now + timedelta(seconds=1))

    def metered(name: str, **labels: str) -> float:
        found = registry.get_sample_value(name, labels)
        assert found is not None, (name, labels)
        return found

    return metered


async def test_what_a_full_history_refuses_is_appended_once(system: System, simulator: Simulator) -> None:
    full = other(system, SHIPMENT_MAX_OBSERVATIONS="1")
    known = lives(6, 11, BEGAN)
    simulator.add(*known)
    happened = simulator.grow_all()
    sent = mangle(webhooks(happened, "complete", bulk=1), Mischief(seed=5, drop=1.0, spare_first=True))
    await full.append(received(sent.kept, happened))
    async with running(full):
        await until(full.caught_up)
        assert (await asked(full, "reconcile", "--once"))["total"]["appended"] > 0
        await until(full.caught_up)
        refused = await full.rows("select from observations where anomaly_kind = 'history_limit'")
        again = await asked(full, "reconcile", "--once")
        assert again["total"]["asked"] == again["total"]["no_news"] > 0
        await until(full.caught_up)
    assert len(refused) == len(await full.rows("select from observations where anomaly_kind = 'history_limit'")) > 0


async def test_where_nothing_was_lost_no_status_moves(system: System, simulator: Simulator) -> None:
    known = [life for life in lives(120, 12, BEGAN) if not untold(life)]
    simulator.add(*known)
    happened = simulator.grow_all()
    mischief = Mischief(seed=6, duplicate=0.2, shuffle=0.3)
    sent = mangle(webhooks(happened, "short"), mischief)
    await system.append(received(sent.kept, happened))
    async with running(system):
        await until(system.caught_up)
        before, versions = await statuses(system), len(await events(system))
        done = await asked(system, "reconcile", "--once")
        assert done["total"]["asked"] > 0
        await until(system.caught_up)
        assert await statuses(system) == before
        report = await asked(system, "reconcile", "report")
    new = (await events(system))[versions:]
    pulled = [event for event in new if event["source"] == "pull"]
    assert [event for event in pulled if event["type"] == "shipment.status_changed"] == []
    assert report["healed"] == []
    assert {late["courier"]: late["p50"] for late in report["lateness"]} == {
        courier: pytest.approx(MOMENT.total_seconds(), abs=1) for courier in ("dash", "kiriminaja")
    }


ORDERS: Final = ("as it comes", "shuffled, some of it twice", "the answers first", "backwards")
MARKS: Final = ("OID-16-", "KAX00016", "DE-E00016", "DE-L00016", "DASH-E-16-", "DASH-L-16-")
"""What the names of the shipments of seed 16 begin with."""


def named(text: str, order: int, *, back: bool = False) -> str:
    """Give the shipments other names, for an order of their own; or the old ones back."""
    for mark in MARKS:
        new = mark.replace("16", f"{order + 2}6")
        text = text.replace(new, mark) if back else text.replace(mark, new)
    return text


def renamed(record: Raw, order: int) -> Raw:
    return Raw(
        named(record.key.decode(), order).encode(),
        named(record.value.decode(), order).encode(),
        record.headers,
        record.timestamp_ms,
    )


def answers(known: Sequence[Life], chance: random.Random) -> list[Raw]:
    """What the couriers answer at two times of each life, and at its end; an hour after what happened last."""
    found = []
    for life in known:
        moves = len(life.moves)
        for number in sorted({chance.randint(1, moves), chance.randint(1, moves), moves}):
            then = so_far(life, number)
            document = dash.envelope(then) if life.courier == "dash" else kiriminaja.tracking(then)
            pieces = answered(life.courier, msgspec.json.encode(document), life.reference)
            assert not isinstance(pieces, NotFound)
            at = then.moves[-1].at + timedelta(hours=1)
            for item, piece in enumerate(pieces, start=1):
                provenance = Provenance(
                    courier=life.courier, received_at=at, source=Source.PULL, item=item, items=len(pieces)
                )
                key = f"{life.courier}:{life.reference}".encode()
                found.append(Raw(key, piece.value, provenance.headers(), int(at.timestamp() * 1000)))
    return found


async def test_pushed_and_pulled_in_any_order_give_the_same_rows(system: System, simulator: Simulator) -> None:
    known = lives(45, 16, BEGAN)
    simulator.add(*known)
    happened = simulator.grow_all()
    chance = random.Random(16)
    pushed, pulled = received(webhooks(happened), happened), answers(known, chance)
    ordered = sorted([*pushed, *pulled], key=lambda record: record.timestamp_ms)
    twice = [*ordered, *chance.sample(ordered, len(ordered) // 4)]
    orders = [ordered, chance.sample(twice, len(twice)), [*pulled, *pushed], ordered[::-1]]
    for number, records in enumerate(orders):
        await system.append([renamed(record, number) for record in records])
    async with running(system):
        await until(system.caught_up)
    rows: dict[int, set[str]] = {number: set() for number in range(len(orders))}
    fields = "to_jsonb(shipments) - array['version', 'updated_at', 'active_hour']"
    for row in await system.rows(f"select {fields} as row from shipments"):
        (number,) = {number for number in rows if named(row["row"], number, back=True) != row["row"]}
        rows[number].add(named(row["row"], number, back=True))
    assert len(rows[0]) == len(known)
    for number, order in enumerate(ORDERS):
        assert rows[number] == rows[0], order


CROWD: Final = int(os.environ.get("WAYBILL_TEST_RECONCILE_SHIPMENTS", "1000"))
"""How many stale shipments there are. `make chaos` takes 10,000."""

LIMIT: Final = 200
REST: Final = 3.0
"""Seconds a shipment rests after an answer, in the crowd."""

TOLERANCE: Final = 1.5
"""Of a rest that was written before the request went out, and never again because the asker was killed."""


async def test_a_crowd_heals_though_the_asker_is_killed(system: System, simulator: Simulator) -> None:
    """A third of the answers are 429 or 5xx; the asker is killed in the middle; another one takes over."""
    known = lives(CROWD, 13, BEGAN)
    simulator.add(*known)
    happened = simulator.grow_all()
    first = mangle(webhooks(happened), Mischief(drop=1.0, spare_first=True))
    await system.append(received(first.kept, happened))
    for courier in ("dash", "kiriminaja"):
        simulator.script.by_chance(courier, Fickleness(1 / 3, (THROTTLED, BROKEN, UNAVAILABLE)))
    hasty = other(system, RECONCILE_STALE_AFTER=f"{REST}s", RECONCILE_RATE=str(LIMIT), LOG_LEVEL="warning")
    async with running(hasty):
        await until(hasty.caught_up)
        before = await statuses(hasty)
        truth = healing(known, before, simulator.truth())
        async with serving_reconcile(hasty) as process:
            await until_asked(simulator, len(before) // 2)
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        asked_before = len(simulator.asked)
        sizes: list[int] = []
        async with serving_reconcile(hasty, sizes) as process:
            async with asyncio.timeout(4 * DEADLINE):
                while these(await statuses(hasty), truth) != truth:
                    await asyncio.sleep(0.3)
            await assert_stops(process)
    assert len(before) // 2 <= asked_before < len(simulator.asked)
    assert sum(one.answer in {"429", "500", "503"} for one in simulator.asked) > len(simulator.asked) / 4
    for courier in ("dash", "kiriminaja"):
        assert simulator.busiest(courier, 1.0) <= LIMIT
    assert_rested(simulator)
    half = len(sizes) // 2
    assert max(sizes[half:]) < 1.25 * max(sizes[:half]) + 20_000_000, "memory grows"


def assert_rested(simulator: Simulator) -> None:
    """Nobody who was answered is asked about again before the rest is over."""
    about: dict[str, list[tuple[float, str]]] = {}
    for one in sorted(simulator.asked, key=lambda one: one.at):
        if one.reference != SIGN_IN:
            about.setdefault(one.reference, []).append((one.at, one.answer))
    for asks in about.values():
        for (earlier, answer), (later, _) in pairwise(asks):
            assert answer != "200" or later - earlier >= REST - TOLERANCE


@asynccontextmanager
async def serving_reconcile(
    system: System, sizes: list[int] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the service, and write down how large it is."""
    process = await start(system, "reconcile")
    measured = [] if sizes is None else sizes

    async def measure() -> None:
        while True:
            await asyncio.sleep(0.5)
            with suppress(psutil.Error):
                measured.append(psutil.Process(process.pid).memory_info().rss)

    measuring = asyncio.create_task(measure())
    reading = asyncio.create_task(process.communicate())
    try:
        yield process
    finally:
        measuring.cancel()
        if process.returncode is None:
            process.kill()
        _, said = await reading
        assert_no_secret(said.decode())
        await asyncio.gather(measuring, return_exceptions=True)


async def assert_stops(process: asyncio.subprocess.Process) -> None:
    """It stops cleanly, and in time, whatever it waits for."""
    began = time.monotonic()
    process.terminate()
    assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
    assert time.monotonic() - began < 10


async def until_asked(simulator: Simulator, requests: int) -> None:
    async def were() -> bool:
        return len(simulator.asked) >= requests

    await until(were)


def assert_no_secret(said: str) -> None:
    assert not [secret for secret in SECRETS if secret in said]


async def looked_at(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/{path}") as answer:
        return answer.status, await answer.text()


async def test_one_asks_at_a_time(system: System, simulator: Simulator, unused_tcp_port: int) -> None:
    simulator.add(*lives(9, 14, BEGAN))
    happened = simulator.grow_all(1)
    await system.append(received(webhooks(happened), happened))
    async with running(system):
        await until(system.caught_up)
    resting = other(system, RECONCILE_STALE_AFTER="1h")
    assert (await asked(resting, "reconcile", "--dry-run"))["due"] == []
    due = await asked(system, "reconcile", "--dry-run")
    assert simulator.asked == []
    names = [each["shipment_id"] for each in due["due"]]
    assert len(names) >= 6
    assert "would be asked about" in await waybill(system, "reconcile", "--dry-run")
    first = other(system, RECONCILE_RATE="1", RECONCILE_ADMIN_PORT=str(unused_tcp_port))
    async with AsyncExitStack() as opened:
        service = await opened.enter_async_context(serving_reconcile(first))
        await until_asked(simulator, 1)
        assert (await looked_at(unused_tcp_port, "readyz"))[0] == 200

        async def counted() -> bool:
            metrics = (await looked_at(unused_tcp_port, "metrics"))[1]
            return bool(re.search(r'waybill_reconcile_asks_total\{courier="\w+",outcome="(no_)?news"\} ', metrics))

        await until(counted)
        complaint = await waybill(system, "reconcile", "--once", code=1)
        assert complaint == "waybill: another `waybill reconcile` is asking already\n"
        async with serving_reconcile(system) as other_service:
            service.kill()
            await service.wait()
            await until_asked(simulator, len(simulator.asked) + 1)
            for courier in ("dash", "kiriminaja"):
                simulator.script.by_chance(courier, Fickleness(1.0, (Slow(DEADLINE),)))
            await until_asked(simulator, len(simulator.asked) + 1)
            await assert_stops(other_service)
        simulator.script.by_chance("dash", Fickleness(0.0, ()))
        simulator.script.by_chance("kiriminaja", Fickleness(0.0, ()))
    reference = names[-1].split(":")[1]
    asked_before = len(simulator.times(reference))
    one = await asked(resting, "reconcile", "--shipment", names[-1])
    assert one["total"]["asked"] == 1
    assert len(simulator.times(reference)) == asked_before + 1
    only = await asked(system, "reconcile", "--once", "--courier", "dash")
    assert only["counts"].keys() == {"dash"}
    assert "NOBODY" in await waybill(system, "reconcile", "--shipment", "NOBODY", code=1)


async def test_refusals_halt_a_courier_and_tell_no_secret(system: System, simulator: Simulator) -> None:
    simulator.add(*lives(30, 15, BEGAN))
    happened = simulator.grow_all(3)
    await system.append(received(webhooks(happened), happened))
    async with running(system):
        await until(system.caught_up)
    wrong = other(system, KIRIMINAJA_API_KEY=f"{KEY}x", RECONCILE_RATE="8")
    process = await start(wrong, "reconcile", "--once", "--json")
    said, complained = await asyncio.wait_for(process.communicate(), DEADLINE)
    assert process.returncode == 1
    done = msgspec.json.decode(said)
    assert done["given_up"].keys() == {"kiriminaja"}
    assert 1 <= done["counts"]["kiriminaja"]["asked"] == done["counts"]["kiriminaja"]["refused"] <= 8
    assert done["counts"]["dash"]["news"] + done["counts"]["dash"]["no_news"] == done["due"]["dash"] > 0
    assert complained.decode().count("courier refuses us") == 1
    assert_no_secret(said.decode() + complained.decode())
    assert not [token for token in simulator._tokens if token.removeprefix("Bearer ") in complained.decode()]
