"""What ends on Ctrl-C or SIGTERM ends whatever it has inherited. In processes of their own, with real signals."""

import os
import pty
import signal
import subprocess
import sys
from typing import IO

import pytest

SCRIPT = """
import argparse, asyncio, sys
from cli import main, signals
from cli.terminal import consent
from runtime import lifecycle

async def waits():
    try:
        print("ready", flush=True)
        await asyncio.Event().wait()
    finally:
        print("cleaned up", flush=True)

async def serve(stop):
    print("ready", flush=True)
    await stop.wait()
    print("cleaned up", flush=True)

async def job():
    with signals.until_signalled() as stop:
        print("ready", flush=True)
        await stop.wait()
        print("cleaned up", flush=True)
    return 1

async def asks():
    print("ready", flush=True)
    return int(not consent.agreed())

COMMANDS = {
    "command": lambda _: signals.run(waits()),
    "service": lambda _: lifecycle.run(serve),
    "job": lambda _: signals.run(job()),
    "question": lambda _: signals.run(asks()),
}

def parser(_names):
    made = argparse.ArgumentParser()
    made.set_defaults(command=COMMANDS[sys.argv[1]])
    return made

main.command_line = parser
sys.exit(main.main([]))
"""

IGNORING = ["sh", "-c", 'trap "" INT TERM; exec "$@"', "sh"]
"""Runs a command as a shell's background job: with signals ignored."""


def first_line(stream: IO[str] | None) -> str:
    assert stream is not None
    return stream.readline()


def start(command: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*IGNORING, sys.executable, "-c", SCRIPT, command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("command", "code"), [("command", 1), ("job", 1), ("service", 0)])
def test_it_ends_in_order_though_its_parent_ignored_the_signal(command: str, code: int, number: signal.Signals) -> None:
    with start(command) as process:
        assert first_line(process.stdout) == "ready\n"
        process.send_signal(number)
        said, complained = process.communicate(timeout=20)
    assert process.returncode == code
    assert "cleaned up\n" in said
    assert "Traceback" not in complained


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_question_is_left_at_the_first_signal(number: signal.Signals, code: int) -> None:
    terminal, keyboard = pty.openpty()
    try:
        with start("question", stdin=keyboard) as process:
            assert first_line(process.stdout) == "ready\n"
            assert process.stderr is not None
            assert process.stderr.read(len("Shall")) == "Shall"
            process.send_signal(number)
            _, complained = process.communicate(timeout=20)
    finally:
        os.close(terminal)
        os.close(keyboard)
    assert process.returncode == code
    assert "Traceback" not in complained
