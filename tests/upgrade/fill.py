"""The database and topics of an older Waybill, written by that Waybill itself for the tests of upgrades.

Run it inside a checkout of the older version, with that checkout's own virtual environment:

    cd older-checkout
    PYTHONPATH=. .venv/bin/python …/tests/upgrade/fill.py DIRECTORY-OF-CASES TARGET

It starts the checkout's own services, plays the bundled stories, the cases from the field and damaged bodies, decides
as operators do, leaves a replay job running, a batch stored but not published and a backlog, and writes what the
database and the topics then hold to TARGET: `database.sql` and `topics.json`.
"""

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGKILL
from typing import Any, Final
from urllib.parse import urlsplit

from aiohttp import web
from aiokafka.admin import AIOKafkaAdminClient

from devstack import Choice, Embedded, services, tools
from processor.protocol.crash_points import Step
from schemas.topics import Topic
from tests.children import environ_with
from tests.integration.replaying import mixed
from tests.integration.system import PARTITIONS, Raw, System, dash, open_system, raw_records
from tests.waiting import until

PREFIX: Final = "upgraded."
CASES_BEGIN: Final = datetime(2026, 11, 27, tzinfo=UTC)
LONG_AGO: Final = timedelta(days=200)
KEY: Final = "the-key"


async def main(cases: list[Any], target: Path) -> None:
    async with services(Choice(Embedded(), Embedded()), None, print) as stack:
        system = await open_system(stack.kafka_bootstrap_servers, stack.database_url, PREFIX)
        async with answering() as answers:
            system.environ |= {
                "WAYBILL_KIRIMINAJA_API_URL": answers.url,
                "WAYBILL_KIRIMINAJA_API_KEY": KEY,
                "WAYBILL_OPERATOR": "dewi",
            }
            await fill(system, cases, answers)
        write(target / "topics.json", await topics_of(system))
        dump_database(stack.database_url, target / "database.sql")


async def fill(system: System, cases: list[Any], answers: "Answers") -> None:
    async with system.processor():
        for number, case in enumerate(cases):
            await play(system, case, CASES_BEGIN + timedelta(minutes=number), answers)
        for records in (mixed(12), final_long_ago(), samples(), strange()):
            await system.append(records)
        await until(system.caught_up)
        await decide(system)
        await until(system.caught_up)
    await store_without_publishing(system)
    await interrupt_a_replay(system)
    backlog = [dash(f"DE-{number}", "COMPLETED", 50, failedCount=1, completedAt=moment(50)) for number in range(3)]
    await system.append([each for body in backlog for each in raw_records("dash", body, CASES_BEGIN)])


async def play(system: System, case: dict[str, Any], at: datetime, answers: "Answers") -> None:
    """Append what a case's webhooks come to, and ask where it asks."""
    for second, step in enumerate(case["steps"]):
        if "path" in step and step.get("method", "POST") == "POST":
            courier = step["path"].split("?")[0].rstrip("/").rpartition("/")[2]
            body = base64.b64decode(step["body_b64"]) if "body_b64" in step else json.dumps(step["body"]).encode()
            await system.append(raw_records(courier, body, at + timedelta(seconds=second)))
        elif "pull" in step:
            await until(system.caught_up)
            answers.next = step["answer"]
            await waybill(system, "reconcile", "--shipment", step["pull"], "--courier", "kiriminaja")


def final_long_ago() -> list[Raw]:
    """Write parcels that are final and silent for longer than histories are kept."""
    now = datetime.now(UTC)
    return [
        record
        for number in range(3)
        for minute, word in enumerate(("PREPARING", "VERIFIED", "PENDING_DELIVERY", "IN_DELIVERY", "COMPLETED"))
        for record in raw_records(
            "dash", dash(f"DE-OLD-{number}", word, minute), now - LONG_AGO + timedelta(minutes=minute)
        )
    ]


def samples() -> list[Raw]:
    """Write the webhooks of the couriers' documents."""
    root = Path("schemas/couriers")
    return [
        record
        for file in sorted(root.glob("*/samples/**/*.json"))
        if "tracking" not in file.parts
        for record in raw_records(file.relative_to(root).parts[0], file.read_bytes(), CASES_BEGIN)
    ]


def strange() -> list[Raw]:
    """Write records that end as dead letters."""
    bodies = [b"", b"[]", b"null", b'{"method": "processed_packages", "data": [{}]}', b'{"deliveryID": 7}', b"\xff"]
    records = [raw for body in bodies for raw in raw_records("kiriminaja", body, CASES_BEGIN)]
    (right,) = raw_records("dash", dash("DE-MISROUTED", "PREPARING", 1), CASES_BEGIN)
    astray = [Raw(key, right.value, right.headers, right.timestamp_ms) for key in (b"a", b"b", b"c", b"d")]
    return [*records, *astray]


async def decide(system: System) -> None:
    """Decide as operators do: each command that leaves something behind."""
    listed = json.loads(await waybill(system, "anomalies", "list", "--json"))
    refused = [each["id"] for each in listed if each["kind"] == "illegal_transition"]
    assert len(refused) >= 3, listed
    await waybill(system, "anomalies", "accept", refused[0], "--reason", "the driver says so", "--yes")
    await waybill(system, "anomalies", "dismiss", refused[1], "--reason", "a test of the courier's", "--yes")
    for number, status in enumerate(("DELIVERED", "LOST", "RETURNED")):
        name = f"dash:DE-{number + 5}"
        await waybill(system, "shipment", "set-status", name, status, "--reason", "seen at the counter", "--yes")
    await waybill(system, "shipment", "erase", "dash:DE-8", "--reason", "the recipient asks", "--yes")
    await until(system.caught_up)
    await waybill(system, "retention", "--yes")
    await waybill(system, "dlq", "redrive", "--reason", "misrouted", "--limit", "1", "--yes")
    await waybill(system, "replay", "run", "--courier", "dash", "--all", "--yes")


async def store_without_publishing(system: System) -> None:
    """Have a processor killed between its two commits."""
    bodies = [dash(f"DE-UNPUBLISHED-{number}", "PREPARING", 1) for number in range(4)]
    await system.append([each for body in bodies for each in raw_records("dash", body, CASES_BEGIN)])
    async with system.processor(Step.STORED) as process:
        assert await process.wait() == -SIGKILL


async def interrupt_a_replay(system: System) -> None:
    """Kill a replay job on its way; its rest is to be resumed by the newer version."""
    process = await start(system, "replay", "run", "--courier", "kiriminaja", "--all", "--rate", "4", "--yes")

    async def under_way() -> bool:
        jobs = await system.rows(
            "select sum(appended) as appended from replay_jobs join replay_positions using (job) "
            "where status = 'running'"
        )
        return any((job["appended"] or 0) > 3 for job in jobs)

    await until(under_way)
    process.kill()
    await process.wait()


async def start(system: System, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "import sys; from cli.main import main; sys.exit(main(sys.argv[1:]))", *arguments),
        env=environ_with(system.environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )


async def waybill(system: System, *arguments: str) -> str:
    process = await start(system, *arguments)
    said, complained = await process.communicate()
    assert process.returncode == 0, (arguments, said.decode(), complained.decode())
    return said.decode()


def moment(minute: int) -> str:
    return (datetime(2026, 11, 1, 8, tzinfo=UTC) + timedelta(minutes=minute)).isoformat().replace("+00:00", "Z")


class Answers:
    """What KiriminAja's tracking says next."""

    def __init__(self) -> None:
        self.url = ""
        self.next: Any = None

    async def tracking(self, _request: web.Request) -> web.Response:
        return web.json_response(self.next)


@asynccontextmanager
async def answering() -> AsyncIterator[Answers]:
    answers = Answers()
    app = web.Application()
    app.router.add_post("/api/mitra/tracking", answers.tracking)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        answers.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield answers
    finally:
        await runner.cleanup()


async def topics_of(system: System) -> dict[str, Any]:
    """Return all records of all topics, and the group's committed offsets."""
    topics: dict[str, Any] = {}
    for topic in Topic:
        topics[topic] = [record_of(record) for record in await system.read(topic)]
    admin = AIOKafkaAdminClient(bootstrap_servers=system.settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        committed = await admin.list_consumer_group_offsets(system.settings.group_id)
    finally:
        await admin.close()
    offsets = [[part.partition, each.offset, each.metadata] for part, each in sorted(committed.items())]
    return {"prefix": PREFIX, "partitions": PARTITIONS, "topics": topics, "committed": offsets}


def record_of(record: Any) -> list[Any]:
    return [
        record.partition,
        text(record.key),
        text(record.value),
        [[name, text(value)] for name, value in record.headers],
        record.timestamp,
    ]


def text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def write(path: Path, value: Any) -> None:
    lines = json.dumps(value, separators=(",", ":")).replace("],[", "],\n[")
    path.write_text(lines + "\n")


def dump_database(database_url: str, path: Path) -> None:
    """Write the database as statements that any client can run: psql's own commands are left out."""
    install = tools.postgres_install()
    assert install is not None
    address = urlsplit(database_url)
    home = install / "pginstall"
    options = ("--inserts", "--rows-per-insert=50", "--no-owner", "--no-privileges", "--dbname", address.geturl())
    done = subprocess.run(
        [str(home / "bin" / "pg_dump"), *options],
        check=True,
        capture_output=True,
        text=True,
        env=environ_with({"LD_LIBRARY_PATH": str(home / "lib")}),
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("\\", "--"))]
    path.write_text("\n".join(line for line in lines if line.strip()) + "\n")


if __name__ == "__main__":
    told = [json.loads(file.read_text()) for file in sorted(Path(sys.argv[1]).glob("*.json"))]
    asyncio.run(main(told, Path(sys.argv[2]).resolve()))
