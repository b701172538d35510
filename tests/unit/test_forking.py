"""Processes that are forked for tests are like any others."""

import asyncio
import signal
from pathlib import Path

import psutil
import pytest

from tests import forking
from tests.waiting import DEADLINE, until

PROGRAM = "tests.unit.forked_program"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 7), (signal.SIGKILL, -9)])
async def test_it_takes_signals_and_tells_how_it_ended(tmp_path: Path, number: int, code: int) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        standing = await forking.start(PROGRAM, "stand", environ={"WAYBILL_WORD": "hush"}, stdout=file)
    await until(lambda: "stand hush" in log.read_text())
    assert standing.returncode is None
    standing.send_signal(number)
    assert await standing.wait() == code
    with pytest.raises(ProcessLookupError):
        standing.kill()


async def test_an_error_ends_it_as_it_ends_any_program(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        failing = await forking.start(PROGRAM, "fail", environ={"WAYBILL_WORD": "a"}, stdout=file, stderr=file)
    assert await failing.wait() == 1
    assert log.read_text().startswith("fail a\n")
    assert log.read_text().endswith("ValueError: for no reason\n")


async def test_its_errors_are_read_from_a_pipe_to_their_end() -> None:
    failing = await forking.start(PROGRAM, "fail", environ={"WAYBILL_WORD": "a"}, stderr=forking.PIPE)
    assert failing.stderr is not None
    assert (await failing.stderr.read()).endswith(b"ValueError: for no reason\n")
    assert await failing.wait() == 1


async def test_of_two_that_end_at_once_both_are_heard_of() -> None:
    both = [await forking.start(PROGRAM, "stand", environ={"WAYBILL_WORD": "hush"}) for _ in range(2)]
    forge = psutil.Process(both[0].pid).parent()
    assert forge is not None
    forge.suspend()
    try:
        for each in both:
            each.kill()
    finally:
        forge.resume()
    await until(lambda: not any(psutil.pid_exists(each.pid) for each in both))
    assert await asyncio.wait_for(asyncio.gather(*(each.wait() for each in both)), DEADLINE) == [-9, -9]
