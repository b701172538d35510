"""`waybill up` as a person runs it: a process of its own, on a real broker and a real database."""

import asyncio
import re
import shlex
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import psutil
import pytest

import cli
from cli.demo.surroundings import PORTS
from devstack.ports import free_ports
from tests.children import environ_with

SAMPLE = Path(cli.__file__).parents[1] / "schemas" / "couriers" / "dash" / "samples" / "express" / "failed.json"
START_SECONDS = 120.0
STOP_SECONDS = 30.0


class Run:
    """A running `waybill up` and what it has written so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.text = ""
        self._more = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            async with self._more:
                self.text += line.decode()
                self._more.notify_all()
        async with self._more:
            self._more.notify_all()

    async def until(self, pattern: str, within: float = START_SECONDS) -> re.Match[str]:
        """Wait until it has written this."""
        async with asyncio.timeout(within), self._more:
            while not (found := re.search(pattern, self.text)):
                assert not self._reading.done(), f"ended without {pattern!r}:\n{self.text}"
                await self._more.wait()
        return found

    async def ended(self, within: float = STOP_SECONDS) -> int:
        """Wait for its end and return its exit code."""
        async with asyncio.timeout(within):
            await self._reading
            return await self.process.wait()

    def services(self) -> dict[str, psutil.Process]:
        """The two services, by name."""
        return {
            name: process
            for process in psutil.Process(self.process.pid).children(recursive=True)
            for name in ("ingest", "processor")
            if process.cmdline()[-2:] == ["cli.main", name]
        }


@asynccontextmanager
async def up(environ: dict[str, str], cwd: Path, *arguments: str) -> AsyncIterator[Run]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "up", *arguments),
        cwd=cwd,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    run = Run(process)
    try:
        yield run
    finally:
        if process.returncode is None:
            process.kill()
        await run.ended()


@pytest.fixture
def environ(kafka_bootstrap_servers: str, empty_database_url: str, topic_prefix: str) -> dict[str, str]:
    inherited = {name: value for name, value in environ_with({}).items() if not name.startswith("WAYBILL_")}
    # The default ports are everybody's: another run may take one between our look at it and the service's.
    ports = zip(PORTS, map(str, free_ports(len(PORTS))), strict=True)
    return (
        inherited
        | {f"WAYBILL_{name}": port for name, port in ports}
        | {
            "PYTHONPATH": str(Path(cli.__file__).parents[1]),
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
            "WAYBILL_DATABASE_URL": empty_database_url,
            "WAYBILL_TOPIC_PREFIX": topic_prefix,
        }
    )


async def test_once_sees_every_expected_event_and_again_on_kept_data(environ: dict[str, str], tmp_path: Path) -> None:
    for _ in range(2):
        async with up(environ, tmp_path, "--once") as run:
            code = await run.ended(START_SECONDS)
        assert code == 0, run.text
        assert "All 11 shipments are as expected." in run.text
        assert re.search(r"DE-\w+-recovered +FAILED → PENDING_DELIVERY +recovery +2\n", run.text)
        assert re.search(r"DE-\w+-reassigned +PICKING_UP → PENDING_PICKUP +reassignment +1\n", run.text)
        assert re.search(r"DE-\w+-late +PENDING_PICKUP → PENDING_DELIVERY +forward +1  over PICKING_UP\n", run.text)
        assert re.search(r"DE-\w+-refused +stays PENDING_DELIVERY +refused", run.text)
        assert re.search(r"OID-\w+-healed +IN_TRANSIT → DELIVERED +forward +1\n", run.text)
        assert run.text.count("→ CANCELLED") == 2
        assert "Traceback" not in run.text


async def test_it_stays_up_for_curl_until_ctrl_c(environ: dict[str, str], tmp_path: Path) -> None:
    async with up(environ, tmp_path, "--no-samples", "--traffic", "10") as run:
        lines = [(await run.until(rf"(?m)^curl .*/webhooks/{courier} .*$"))[0] for courier in ("dash", "kiriminaja")]
        async with aiohttp.ClientSession() as session:
            for line in lines:
                words = shlex.split(line)
                headers = dict(words[at + 1].split(": ", 1) for at, word in enumerate(words) if word == "-H")
                body = words[words.index("-d") + 1]
                async with session.post(words[2], headers=headers, data=body) as answer:
                    assert answer.status == 200, await answer.text()
        await run.until(r"dash:DE-\w+-yours +· → VERIFIED +initial +1")
        await run.until(r"kiriminaja:OID-\w+-yours +· → IN_TRANSIT +initial +1")
        told = await run.until(r"(?m)^export (.+)$")
        here = dict(word.split("=", 1) for word in shlex.split(told[1]))
        assert "200, accepted as webhook" in await sent(environ | here, SAMPLE)
        await run.until(r"dash:DE-1735308506306 +· → FAILED +initial +1")
        await run.until(r"(?s)(dash:DE-[EL]\d|kiriminaja:(OID|INS)-\d).+?→ .+?→ ")
        services = run.services()
        assert set(services) == {"ingest", "processor"}
        run.process.send_signal(signal.SIGINT)
        assert await run.ended() == 0, run.text
        assert not any(service.is_running() for service in services.values())
    assert re.search(r"(?m)^Traffic: \d+ accepted\.$", run.text)
    assert "Traceback" not in run.text
    for name in services:
        assert "stopped" in (tmp_path / ".waybill" / "logs" / f"{name}.log").read_text()


async def sent(environ: dict[str, str], body: Path) -> str:
    """Run `waybill courier send` in another terminal; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "courier", "send", str(body), "--courier", "dash"),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), START_SECONDS)
    assert process.returncode == 0, out.decode()
    return out.decode()


async def test_a_service_that_dies_ends_the_run_and_shows_its_log(environ: dict[str, str], tmp_path: Path) -> None:
    async with up(environ, tmp_path, "--no-samples") as run:
        await run.until("Ctrl-C")
        services = run.services()
        services["processor"].kill()
        assert await run.ended() == 1
        assert not services["ingest"].is_running()
    assert "processor ended by itself" in run.text
    assert '"event":"partition claimed"' in run.text
    assert "Traceback" not in run.text


async def test_a_killed_run_leaves_no_service_behind(environ: dict[str, str], tmp_path: Path) -> None:
    async with up(environ, tmp_path, "--no-samples") as run:
        await run.until("Ctrl-C")
        services = list(run.services().values())
        run.process.kill()
        gone, left = await asyncio.to_thread(psutil.wait_procs, services, STOP_SECONDS)
    assert len(gone) == 2
    assert not left


async def test_a_taken_port_of_the_users_choice_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = holder.getsockname()[1]
        async with up(environ | {"WAYBILL_INGEST_PORT": str(taken)}, tmp_path, "--once") as run:
            assert await run.ended(START_SECONDS) == 1
    assert f"WAYBILL_INGEST_PORT is {taken}, and that port is taken" in run.text
    assert "Traceback" not in run.text


async def test_topics_of_another_partition_count_are_named(environ: dict[str, str], tmp_path: Path) -> None:
    async with up(environ | {"WAYBILL_TOPIC_PARTITIONS": "2"}, tmp_path, "--no-samples", "--once") as run:
        assert await run.ended(START_SECONDS) == 0, run.text
    async with up(environ, tmp_path, "--no-samples", "--once") as run:
        assert await run.ended(START_SECONDS) == 1
    assert "set WAYBILL_TOPIC_PARTITIONS=2" in run.text


async def test_a_partition_that_stands_still_is_told_at_once(environ: dict[str, str], tmp_path: Path) -> None:
    async with up(environ, tmp_path, "--no-samples", "--once") as run:
        assert await run.ended(START_SECONDS) == 0, run.text
    connection = await asyncpg.connect(environ["WAYBILL_DATABASE_URL"])
    try:
        await connection.execute("update cursors set next_offset = 1000 where raw_partition = 2")
    finally:
        await connection.close()
    async with up(environ, tmp_path, "--no-samples", "--once") as run:
        assert await run.ended() == 1
    assert "processor stands still" in run.text
    assert "the log ends at 0, before the next offset 1000" in run.text


async def test_wrong_settings_are_a_line_each_and_exit_2(environ: dict[str, str], tmp_path: Path) -> None:
    wrong = {"WAYBILL_TOPIC_PARTITIONS": "none", "WAYBILL_LOG_LEVEL": "loud"}
    async with up(environ | wrong, tmp_path, "--once") as run:
        assert await run.ended() == 2
    assert len(run.text.splitlines()) == 2
    assert "WAYBILL_TOPIC_PARTITIONS" in run.text
