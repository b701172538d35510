"""Processes of Waybill that tests start. Each is forked from one that has imported everything, which saves a second.

They are processes like any other: with an environment, signals and an end of their own. That one which starts from
nothing does as well is seen wherever tests start `-m cli.main`. What benches measure starts from nothing, too.
"""

import asyncio
import atexit
import gc
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from importlib import import_module
from threading import Lock
from typing import Any, BinaryIO, Final, TextIO

import msgspec

from tests.children import environ_with

LOOK_SECONDS: Final = 0.01
"""How often is looked for the end of a process."""

END_SECONDS: Final = 10.0
"""What the one that forks may take to its end."""

IMPORTED: Final = ("cli.commands.ingest", "cli.commands.processor", "processor.recovery.run")
"""With what they import: all that a service needs."""

IN_A_TEST: Final = "PYTEST_CURRENT_TEST"
"""What pytest sets while a test runs."""

PIPE: Final = subprocess.PIPE

Output = BinaryIO | TextIO | None
"""Where a process writes. None: where the tests do."""


class Request(msgspec.Struct):
    """What a process shall run: a module, as `python -m` does, with as many open files as the tests may have by now."""

    module: str
    arguments: Sequence[str]
    environ: Mapping[str, str]
    files: tuple[int, int]


class Forked:
    """A running process, as asyncio's own show theirs."""

    def __init__(self, pid: int, stderr: asyncio.StreamReader | None) -> None:
        """Use `start`."""
        self.pid = pid
        self.stderr = stderr

    @property
    def returncode(self) -> int | None:
        """The exit code, or the number of the signal that ended it, negated; None while it runs."""
        return _forge().ended(self.pid)

    async def wait(self) -> int:
        """Wait for its end."""
        while (code := self.returncode) is None:
            await asyncio.sleep(LOOK_SECONDS)
        return code

    def send_signal(self, number: int) -> None:
        """Raises ProcessLookupError when it has ended."""
        if self.returncode is not None:
            raise ProcessLookupError
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Started = Forked | asyncio.subprocess.Process


async def start(
    module: str, *arguments: str, environ: Mapping[str, str], stdout: Output = None, stderr: Output | int = None
) -> Started:
    """Start a module as `python -m` does, with these settings and nothing to read. Of a `PIPE` the test reads."""
    if IN_A_TEST not in os.environ:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            env=environ_with(environ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    request = Request(module, arguments, environ_with(environ), resource.getrlimit(resource.RLIMIT_NOFILE))
    reader, pipe = await _pipe() if isinstance(stderr, int) else (None, None)
    with pipe or nullcontext():
        given = (stdout or sys.__stdout__, pipe or stderr or sys.__stderr__)
        outputs = [output.fileno() for output in given]  # type: ignore[union-attr]
        return Forked(await asyncio.to_thread(lambda: _forge().fork(request, outputs)), reader)


async def _pipe() -> tuple[asyncio.StreamReader, BinaryIO]:
    """Return the two ends of a pipe."""
    ours, its = os.pipe()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ours, "rb", 0)
    )
    return reader, os.fdopen(its, "wb", 0)


class _Forge:
    """The process that forks, as the tests see it. It ends with them."""

    def __init__(self) -> None:
        ours, its = socket.socketpair()
        with its:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forking", str(its.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                env=environ_with({}),
                start_new_session=True,
            )
        self._channel = ours
        self._lines = b""
        self._lock = Lock()
        self._ended: dict[int, int] = {}
        atexit.register(self._close)

    def fork(self, request: Request, outputs: Sequence[int]) -> int:
        """Return the process id of a child that does it."""
        with self._lock:
            socket.send_fds(self._channel, [msgspec.json.encode(request) + b"\n"], outputs)
            while (pid := self._read()) is None:
                pass
        return pid

    def ended(self, pid: int) -> int | None:
        """Return how a child has ended, if it has."""
        if pid not in self._ended and self._lock.acquire(blocking=False):
            try:
                while b"\n" in self._lines or select.select([self._channel], [], [], 0)[0]:
                    self._read()
            finally:
                self._lock.release()
        return self._ended.get(pid)

    def _read(self) -> int | None:
        """Read one more answer, note how a child ended, or return the process id of a new one."""
        while b"\n" not in self._lines:
            more = self._channel.recv(65536)
            assert more, "the process that forks has ended"
            self._lines += more
        line, _, self._lines = self._lines.partition(b"\n")
        pid, *code = map(int, line.split())
        if not code:
            return pid
        self._ended[pid] = code[0]
        return None

    def _close(self) -> None:
        self._channel.close()
        self._process.wait(END_SECONDS)


_made: list[_Forge] = []
_making: Final = Lock()


def _forge() -> _Forge:
    with _making:
        if not _made:
            _made.append(_Forge())
        return _made[0]


def _serve(channel: socket.socket) -> Request:
    """Fork for each request. Returns what it shall run, in each child alone; ends when the tests have."""
    for name in IMPORTED:
        import_module(name)
    gc.collect()
    gc.freeze()
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([channel, woken], [], [])
        if woken in ready:
            woken.recv(4096)
            _tell_of_the_ended(children, channel)
        if channel in ready:
            data, outputs, _, _ = socket.recv_fds(channel, 1 << 20, 2)
            while data and not data.endswith(b"\n"):
                data += channel.recv(1 << 20)
            if not data:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                sys.exit()
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for each in (channel, woken, waker):
                    each.close()
                return _begin(msgspec.json.decode(data, type=Request), outputs)
            for output in outputs:
                os.close(output)
            children.add(pid)
            channel.sendall(b"%d\n" % pid)


def _tell_of_the_ended(children: set[int], channel: socket.socket) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.remove(pid)
            channel.sendall(b"%d %d\n" % (pid, os.waitstatus_to_exitcode(status)))


def _begin(request: Request, outputs: Sequence[int]) -> Request:
    for number, output in enumerate(outputs, start=1):
        os.dup2(output, number)
        os.close(output)
    resource.setrlimit(resource.RLIMIT_NOFILE, request.files)
    os.environ.clear()
    os.environ.update(request.environ)
    sys.argv = [request.module, *request.arguments]
    return request


if __name__ == "__main__":
    _asked: Any = _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(_asked.module, run_name="__main__", alter_sys=True)
