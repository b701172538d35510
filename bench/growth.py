"""How Waybill goes on in a database that has grown, beside an empty one on the same server and broker.

python -m bench.growth [--shipments N] [--backlog N] [--rounds N] [--write]
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any, Final

import asyncpg
import msgspec

from bench.backlog import append_backlog
from bench.filling import HOURS, ID, ORDER, UNDER_WAY, Filling, digits
from bench.growing import Took, anomaly_pages_ms, audited, page_ms, retired, start_ms, taken, troubles, updated
from bench.growth_told import Grown, told
from bench.machine import bench_stack, empty_database
from bench.memory import memory_over
from bench.page import publish
from bench.steady import Steady, steady_middle
from bench.watching import Watcher, server_pids
from devstack import Stack
from devstack.home import public_temporary_directory
from runtime import kafka, migrations
from runtime.queries import load_queries
from schemas.topics import Topic
from tests.integration.consoles import looking
from tests.integration.replaying import processing
from tests.integration.system import System, open_system
from tests.waiting import until

SHIPMENTS: Final = 1_000_000
BACKLOG: Final = 1_000_000
ROUNDS: Final = 3
SECTION: Final = "growth"

SECONDS: Final = 10.0
"""How long a run is watched, from its first commit on."""

BESIDE: Final = 240_000
"""Records that no processor comes to the end of while it is watched."""

RETENTION: Final = "45d"
"""A quarter of the stored shipments have been silent for longer."""

RETIRED: Final = 50_000
"""How many of them are retired."""

TROUBLES: Final = 10_000
"""Anomalies, and as many dead letters; all open."""

UPDATES: Final = 1_000_000
"""Events of a day."""

CHUNK: Final = 20_000
"""States published together."""

COMMANDS: Final[Mapping[str, Sequence[str]]] = {
    "`shipment show`": ("shipment", "show", "{name}"),
    "`shipment list`": ("shipment", "list"),
    "`shipment list --status DELIVERED`": ("shipment", "list", "--status", "DELIVERED"),
    "`shipment list --status LOST`, of which there is none": ("shipment", "list", "--status", "LOST"),
    "`shipment list --courier kiriminaja`, none": ("shipment", "list", "--courier", "kiriminaja"),
    "`shipment list --stale-for 1d`": ("shipment", "list", "--stale-for", "1d"),
    "`shipment list --stale-for 1d --status LOST`, none": ("shipment", "list", "--stale-for", "1d", "--status", "LOST"),
    "`lag`": ("lag",),
    "`doctor`": ("doctor",),
    "`dlq list`": ("dlq", "list", "--limit", "100"),
    "`dlq list --reason misrouted`, none": ("dlq", "list", "--reason", "misrouted"),
    "`anomalies list`": ("anomalies", "list", "--limit", "100"),
    "`dlq list --courier kiriminaja`, none": ("dlq", "list", "--courier", "kiriminaja"),
    "`anomalies list --courier kiriminaja`, none": ("anomalies", "list", "--courier", "kiriminaja"),
    "`anomalies list --kind service_conflict`, none": ("anomalies", "list", "--kind", "service_conflict"),
    "`log --operator nobody`, none": ("log", "--operator", "nobody"),
}
"""What operators ask, by what the page calls it."""

PAGES: Final[Mapping[str, str]] = {
    "`/`": "/",
    "`/shipments`": "/shipments",
    "`/shipments`, those delivered": "/shipments?status=DELIVERED",
    "`/shipments`, those lost, of which there is none": "/shipments?status=LOST",
    "`/shipments`, silent for a day": "/shipments?stale_for=1d",
    "`/shipments`, found by its order": "/shipments?q={name}",
    "`/shipments/ID`": "/shipments/{id}",
    "`/anomalies`": "/anomalies",
    "`/anomalies` of a kind of which there is none": "/anomalies?kind=service_conflict",
    "`/dead-letters`": "/dead-letters",
    "`/dead-letters` of a reason of which there is none": "/dead-letters?reason=misrouted",
    "`/couriers`": "/couriers",
    "`/log`": "/log",
}
"""What operators look at in the console, likewise."""

_Q: Final = load_queries("bench", "growth.sql")


async def fill(system: System, shipments: int) -> tuple[Filling, float]:
    """Store shipments, and publish their states. Return them, and how many seconds storing took."""
    filling = Filling(system.settings, shipments, datetime.now(UTC) - timedelta(hours=1))
    started, told = monotonic(), 0.1
    connection: Any = await asyncpg.connect(system.settings.database_url)
    try:
        async for done in filling.store(connection):
            if done >= told:
                _say(f"{done:.0%} of {filling.shipments:,} shipments stored, {monotonic() - started:.0f} s")
                told += 0.1
        seconds = monotonic() - started
        # As autovacuum would have done in two months.
        await connection.execute("vacuum analyze")
        await connection.execute("checkpoint")
    finally:
        await connection.close()
    _say("publishing their states")
    await _publish_states(system, filling)
    return filling, seconds


async def _publish_states(system: System, filling: Filling) -> None:
    producer, topic = kafka.new_producer(system.settings, "bench"), system.settings.topic(Topic.STATE)
    await kafka.start(producer)
    try:
        sent = []
        for partition, key, value in filling.states():
            sent.append(await producer.send(topic, value, key, partition))
            if len(sent) == CHUNK:
                await asyncio.gather(*sent)
                sent.clear()
        await asyncio.gather(*sent)
    finally:
        await kafka.stop(producer)


async def rate(watcher: Watcher, system: System, end: int) -> Steady:
    """Run a processor for some seconds on what waits, and return its steady middle."""
    group = system.settings.group_id
    begun = await watcher.committed(group)
    async with system.processor() as process:

        def check() -> None:
            if process.returncode is not None:
                raise ChildProcessError("the processor has ended")

        async def has_begun() -> bool:
            check()
            return await watcher.committed(group) > begun

        await until(has_begun)
        samples = await watcher.run(group, [process.pid], SECONDS, end, check)
    return steady_middle([msgspec.structs.replace(each, committed=each.committed - begun) for each in samples])


async def asked(system: System, name: str) -> dict[str, Took]:
    """Return how long each command takes; `name` is a shipment's."""
    found = {}
    for command, words in COMMANDS.items():
        found[command] = await taken(system, *(word.format(name=name) for word in words))
        _say(f"{command}: {found[command]}")
    return found


async def looked_at(system: System, name: str, shipment_id: str) -> dict[str, float]:
    """Return how many milliseconds each page of the console takes; `name` is an order of which `shipment_id` is."""
    found = {}
    async with looking(system) as console:
        for page, path in PAGES.items():
            found[page] = await page_ms(console, path.format(name=name, id=shipment_id))
            _say(f"{page}: {found[page]:,.0f} ms")
    return found


async def beside(stack: Stack, system: System, place: int, watcher: Watcher, end: int) -> Steady:
    """Run a processor in an empty database."""
    async with empty_database(stack.database_url, f"beside-{place}") as url:
        own = System({**system.environ, "WAYBILL_DATABASE_URL": url, "WAYBILL_PROCESSOR_GROUP_ID": f"beside-{place}"})
        await migrations.migrate(own.settings)
        return await rate(watcher, own, end)


async def grow(stack: Stack, shipments: int, backlog: int, rounds: int) -> Grown:
    """Fill a database, and measure."""
    system = await open_system(stack.kafka_bootstrap_servers, stack.database_url, "growth.")
    system.set(WAYBILL_RETENTION=RETENTION, WAYBILL_DLQ_MAX_RATIO="1")
    filling, filled_in = await fill(system, shipments)
    sizes = await _bytes(system, filling.shipments)
    small = await open_system(stack.kafka_bootstrap_servers, stack.database_url, "beside.")
    _say("appending backlogs")
    end = await append_backlog(system, backlog, filling.shipments * 6, digits)
    small_end = await append_backlog(small, min(BESIDE, backlog), filling.shipments * 6, digits)
    rates = []
    async with kafka.admin_client(system.settings) as admin:
        servers = server_pids(stack)
        watcher, beside_watcher = (Watcher(admin, servers, each.settings.topic(Topic.RAW)) for each in (system, small))
        for place in range(1, rounds + 1):
            pair = await beside(stack, small, place, beside_watcher, small_end), await rate(watcher, system, end)
            rates.append(pair)
            _say(f"round {place} of {rounds}: {pair[0].rate:,.0f} empty, {pair[1].rate:,.0f} filled, records/s")
        _say("the rest of the backlog")
        memory = await memory_over(watcher, system, end)
    _say(f"memory {memory}")
    commands, looks = await _commands(stack, system)
    pages = await anomaly_pages_ms(system)
    _say("auditing")
    report, audit = await audited(system)
    assert report.found == 0, report
    _say(f"audit: {audit}; retiring")
    async with processing(system):
        most = min(RETIRED, filling.shipments // 5)
        count, retention = await retired(system, most)
    assert count.shipments == most, count
    _say(f"retention: {retention}; a day's updates")
    under_way = range((HOURS - UNDER_WAY) * filling.shipments // HOURS, filling.shipments)
    connection: Any = await asyncpg.connect(system.settings.database_url)
    try:
        dead = await updated(connection, [f"{ID}{digits(number)}" for number in under_way], min(UPDATES, shipments))
    finally:
        await connection.close()
    return Grown(
        shipments=filling.shipments,
        filled_in=filled_in,
        bytes=sizes,
        rates=rates,
        memory=memory,
        commands=commands,
        pages=looks,
        start=start_ms(),
        anomaly_pages=pages,
        audit=audit,
        retention=retention,
        dead=dead,
    )


async def _commands(stack: Stack, system: System) -> tuple[dict[str, tuple[Took, Took]], dict[str, float]]:
    """Ask a database with one shipment and the filled one the same, processors beside it, and look at the filled one.

    Return what each command took in both, and each page of the console in the filled one.
    """
    few = await open_system(stack.kafka_bootstrap_servers, stack.database_url, "few.")
    async with empty_database(stack.database_url, "few") as url:
        few.set(WAYBILL_DATABASE_URL=url, WAYBILL_PROCESSOR_GROUP_ID="few")
        await migrations.migrate(few.settings)
        await append_backlog(few, 6)
        async with processing(few):
            await until(few.caught_up)
            empty = await asked(few, "DE-1")
    await system.append(troubles(TROUBLES))
    async with processing(system):
        await until(system.caught_up)
        filled = await asked(system, f"{ORDER}{digits(1)}")
        looks = await looked_at(system, f"{ORDER}{digits(1)}", f"{ID}{digits(1)}")
    return {name: (empty[name], filled[name]) for name in COMMANDS}, looks


async def _bytes(system: System, shipments: int) -> dict[str, float]:
    rows = {
        table: (await system.rows(f"select pg_total_relation_size('{table}') as size"))[0]["size"]
        for table in ("shipments", "observations", "outputs")
    }
    return {table: size / shipments for table, size in rows.items()}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


async def main(directory: Path, shipments: int, backlog: int, rounds: int) -> str:
    async with bench_stack(directory) as stack:
        return told(await grow(stack, shipments, backlog, rounds))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.growth")
    parser.add_argument("--shipments", type=int, default=SHIPMENTS)
    parser.add_argument("--backlog", type=int, default=BACKLOG)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md too")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="waybill-growth-", dir=public_temporary_directory()) as made:
        Path(made).chmod(0o755)  # root's database server is another user
        text = asyncio.run(main(Path(made), options.shipments, options.backlog, options.rounds))
    publish(SECTION, text, write=options.write)
