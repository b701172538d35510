"""The embedded services under rough treatment: nothing is left behind, nothing kept is lost."""

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import asyncpg
import msgspec
import psutil
import pytest

import devstack.postgres
from devstack import Choice, Embedded, InUseError, Kafka, MissingToolError, Named, Stack, for_tests, services, tools
from devstack.home import MEMORY, Home
from devstack.jars import cached_jars, classes_file
from devstack.kafka import EmbeddedKafka
from devstack.postgres import EmbeddedPostgres
from devstack.process import until
from tests.integration.standing_stack import Standing

pytestmark = pytest.mark.integration

ONLY_POSTGRES: Final = Choice(Named("127.0.0.1:1"), Embedded())
GONE_SECONDS: Final = 20.0


@pytest.fixture(autouse=True, scope="module")
def _embedded_is_possible() -> None:
    try:
        for_tests({"WAYBILL_TEST_STACK": "embedded"})
    except MissingToolError as error:
        pytest.skip(f"no embedded services: {error}")


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A directory that any user can reach, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="waybill-test-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path)


@contextmanager
def standing_stack(*data_dir: Path) -> Iterator[tuple[subprocess.Popen[bytes], Standing]]:
    """Another process that runs the services."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.standing_stack", *data_dir],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout is not None
        yield process, msgspec.json.decode(process.stdout.readline(), type=Standing)


def family(pid: int) -> list[psutil.Process]:
    """A process and everything it started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def command_of(process: psutil.Process) -> list[str]:
    """Its command line; empty where it has just ended, as the start's short-lived helpers do."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return []


def has_ended(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def gone(processes: list[psutil.Process]) -> Callable[[], bool]:
    def are_gone() -> bool:
        return all(has_ended(process) for process in processes)

    return are_gone


async def execute(database_url: str, *statements: str) -> Any:
    """Run statements; return the last one's value."""
    connection = await asyncpg.connect(database_url)
    try:
        return [await connection.fetchval(statement) for statement in statements][-1]
    finally:
        await connection.close()


async def test_a_broker_maps_the_classes_that_are_kept(kafka: Kafka) -> None:
    """Java says nothing when it takes a file for another's: it only starts slowly."""
    if not isinstance(kafka, EmbeddedKafka):
        pytest.skip("the broker is not embedded")
    java = tools.java()
    assert java is not None
    kept = classes_file(java, cached_jars())
    if kept.stat().st_size == 0:
        pytest.skip("this Java keeps no classes")
    assert str(kept) in {each.path for each in psutil.Process(kafka.pid).memory_maps()}


async def test_killed_run_leaves_no_process_and_no_directory() -> None:
    with standing_stack() as (run, standing):
        processes = family(run.pid)
        directories = [
            Path(word)
            for p in processes
            for word in p.cmdline()
            if word.startswith(tuple(f"{place}/waybill-" for place in (MEMORY, tempfile.gettempdir())))
        ]
        assert {standing.pids["kafka"], standing.pids["postgres"]} < {p.pid for p in processes}
        assert directories
        run.kill()
    await until(gone(processes), GONE_SECONDS, "the end of the killed run's processes")
    await until(lambda: not any(map(Path.exists, directories)), GONE_SECONDS, "the end of its directories")


async def test_ctrl_c_leaves_no_process() -> None:
    with standing_stack() as (run, _):
        processes = family(run.pid)
        # A terminal's Ctrl-C goes to the process group: the services are in none of ours.
        assert {os.getpgid(p.pid) for p in processes[1:]}.isdisjoint({os.getpgid(run.pid)})
        run.send_signal(2)
        assert run.stdin is not None
        run.stdin.close()
    assert gone(processes)()


async def test_killed_run_loses_nothing_kept(data_dir: Path) -> None:
    with standing_stack(data_dir) as (run, first):
        await execute(first.database_url, "create table kept (word text)", "insert into kept values ('here')")
        processes = family(run.pid)
        run.kill()
    # No wait: the guards of the killed run may still be ending its services.
    async with services(Choice(Embedded(), Embedded()), data_dir, lambda _: None) as second:
        assert second.kafka_bootstrap_servers == first.kafka_bootstrap_servers
        assert second.database_url == first.database_url
        assert await execute(second.database_url, "select word from kept") == "here"
        assert gone(processes)()
        await second.kafka.tool("kafka-topics", "--create", "--topic", "kept", "--partitions", "1")
        blocked = [int(first.kafka_bootstrap_servers.split(":")[1]), port_of(first.database_url)]

    with listening(blocked):
        async with services(Choice(Embedded(), Embedded()), data_dir, lambda _: None) as third:
            assert int(third.kafka_bootstrap_servers.split(":")[1]) not in blocked
            assert port_of(third.database_url) not in blocked
            assert await third.kafka.tool("kafka-topics", "--list") == "kept\n"
            assert await execute(third.database_url, "select word from kept") == "here"


@contextmanager
def listening(ports: list[int]) -> Iterator[None]:
    """Somebody else on these ports."""
    sockets = [socket.create_server(("127.0.0.1", port)) for port in ports]
    try:
        yield
    finally:
        for each in sockets:
            each.close()


def port_of(database_url: str) -> int:
    port = urlsplit(database_url).port
    assert port is not None
    return port


async def test_stale_pid_file_is_no_obstacle(data_dir: Path) -> None:
    async with services(ONLY_POSTGRES, data_dir, lambda _: None):
        pass
    # After a crash of the machine, the noted process id belongs to somebody else.
    (data_dir / "postgres" / "data" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    (data_dir / "postgres" / "pid").write_text(f"{os.getpid()}\n")
    async with services(ONLY_POSTGRES, data_dir, lambda _: None) as stack:
        assert await execute(stack.database_url, "select 1") == 1


async def test_server_without_its_guard_is_ended_by_the_next_run(data_dir: Path) -> None:
    async with services(ONLY_POSTGRES, data_dir, lambda _: None) as first:
        abandoned: Any = first.postgres
        server = psutil.Process(abandoned.pid)
        guard = server.parent()
        assert guard is not None
        guard.kill()
        guard.wait()
    assert server.is_running()
    async with services(ONLY_POSTGRES, data_dir, lambda _: None) as second:
        assert gone([server])()
        assert await execute(second.database_url, "select 1") == 1


async def test_half_made_cluster_is_made_anew(data_dir: Path) -> None:
    half = data_dir / "postgres" / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    async with services(ONLY_POSTGRES, data_dir, lambda _: None) as stack:
        assert await execute(stack.database_url, "select 1") == 1


async def test_second_run_is_told_who_holds_the_directory(data_dir: Path) -> None:
    async with services(ONLY_POSTGRES, data_dir, lambda _: None):
        with pytest.raises(InUseError, match=f"in use by process {os.getpid()}"):
            async with services(ONLY_POSTGRES, data_dir, lambda _: None):
                pytest.fail("two runs hold one directory")


async def test_cancelled_start_leaves_no_process(data_dir: Path) -> None:
    async def start() -> None:
        async with services(Choice(Embedded(), Embedded()), data_dir, lambda _: None):
            pytest.fail("started")

    others = set(psutil.Process().children(recursive=True))
    task = asyncio.create_task(start())
    started: list[psutil.Process] = []

    def broker_runs() -> bool:
        started[:] = set(psutil.Process().children(recursive=True)) - others
        return any("kafka.Kafka" in command_of(p) for p in started)

    await until(broker_runs, 60, "the broker's start")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(started)()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts the server as another user")
async def test_root_finds_a_place_that_the_servers_user_can_reach(data_dir: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(devstack.postgres, "REACHABLE_BINARIES", data_dir / "cache")
    monkeypatch.setattr(devstack.postgres, "REACHABLE_DATA", data_dir / "lib")
    barred = data_dir / "barred"
    barred.mkdir(mode=0o700)
    wheel = tools.postgres_install()
    assert wheel is not None
    for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(part, barred / part.name)
    for _ in range(2):
        home = await Home.kept(barred / "postgres")
        server = EmbeddedPostgres(barred / wheel.name, home)
        try:
            await server.start(lambda _: None)
            assert psutil.Process(server.pid).uids().effective == devstack.postgres.NOBODY
            counted = "select count(*) from pg_tables where tablename = 'again'"
            assert await execute(server.database_url, "create table if not exists again ()", counted) == 1
        finally:
            await server.stop()
            home.release()
    assert len(list((data_dir / "lib").iterdir())) == 1


async def test_restart_after_kill_keeps_data(stack: Stack, topic_prefix: str, database_url: str) -> None:
    await stack.kafka.tool("kafka-topics", "--create", "--topic", f"{topic_prefix}kept", "--partitions", "2")
    await execute(database_url, "create table kept (word text)", "insert into kept values ('here')")
    await stack.kafka.kill()
    await stack.postgres.kill()
    with pytest.raises((OSError, asyncpg.CannotConnectNowError)):
        await execute(database_url, "select 1")
    await stack.kafka.restart()
    await stack.postgres.restart()
    assert f"{topic_prefix}kept\n" in await stack.kafka.tool("kafka-topics", "--list")
    assert await execute(database_url, "select word from kept") == "here"
