"""How a service leaves: by a signal, by an error, by itself. In processes of their own, with real signals."""

import signal
import subprocess
import sys
import time
from typing import IO

import pytest

SCRIPT = """
import asyncio, logging, sys, structlog
from runtime import lifecycle
from runtime.errors import SetupError
from runtime.logging import configure_logging
configure_logging("info", "json")
lifecycle.DRAIN_SECONDS = 0.5
lifecycle.LAST_RESORT_SECONDS = 1.0

async def drains(stop):
    print("ready", flush=True)
    await stop.wait()
    print("drained", flush=True)

async def lingers(stop):
    print("ready", flush=True)
    await asyncio.Event().wait()

async def clings(stop):
    print("ready", flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def refused(stop):
    async with asyncio.TaskGroup() as group:
        group.create_task(refuse())

async def refuse():
    raise SetupError("the topics are missing")

async def breaks(stop):
    raise KeyError("unexpected")

async def ends(stop):
    return

async def talks(stop):
    print("ready", flush=True)
    while not stop.is_set():
        structlog.get_logger().info("of no interest")
        logging.getLogger("library").warning("of no interest")
        await asyncio.sleep(0.01)

sys.exit(lifecycle.run(globals()[sys.argv[1]]))
"""


def start(service: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, service], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def first_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_gives_0(number: signal.Signals) -> None:
    with start("drains") as process:
        assert first_line(process.stdout) == "ready\n"
        process.send_signal(number)
        out, _ = process.communicate(timeout=10)
    assert (out, process.returncode) == ("drained\n", 0)


@pytest.mark.parametrize("service", ["lingers", "clings"])
def test_what_does_not_drain_is_cut_off(service: str) -> None:
    with start(service) as process:
        first_line(process.stdout)
        began = time.monotonic()
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 1
    assert time.monotonic() - began < 3


def test_a_second_signal_stops_at_once() -> None:
    with start("lingers") as process:
        first_line(process.stdout)
        process.send_signal(signal.SIGINT)
        assert "stopping" in first_line(process.stderr)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=10)
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("service", "code", "says", "traceback"),
    [
        ("refused", 1, "the topics are missing", False),
        ("breaks", 1, "unexpected", True),
        ("ends", 0, "stopped", False),
    ],
)
def test_without_a_signal(service: str, code: int, says: str, traceback: bool) -> None:
    with start(service) as process:
        _, err = process.communicate(timeout=10)
    assert process.returncode == code
    assert says in err
    assert ("Traceback" in err) is traceback


def test_a_service_outlives_whoever_reads_its_lines() -> None:
    with start("talks") as process:
        first_line(process.stdout)
        assert process.stderr is not None
        process.stderr.readline()
        process.stderr.close()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.terminate()
        assert process.wait(10) == 0


def test_a_service_that_nobody_reads_from_the_start_stops_in_order() -> None:
    command = ["sh", "-c", 'exec 2>&-; exec "$@"', "sh", sys.executable, "-c", SCRIPT, "talks"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        first_line(process.stdout)
        process.terminate()
        assert process.wait(10) == 0
