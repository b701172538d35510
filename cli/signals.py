"""SIGINT and SIGTERM: what a command does when it is told to end, whatever it has inherited.

A shell starts a background job with SIGINT ignored, and so may a supervisor: Python's own Ctrl-C then does nothing.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def undo_ignoring() -> None:
    """Let SIGINT and SIGTERM end this process where its parent had them ignored."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) is signal.SIG_IGN:
            _end_at(number)


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command to its end and return its exit code. The first SIGINT or SIGTERM cancels it.

    Raises:
        KeyboardInterrupt: it was cancelled so.

    """
    interrupted = False

    async def interruptible() -> int:
        task = asyncio.current_task()
        assert task is not None

        def interrupt() -> None:
            nonlocal interrupted
            interrupted = True
            task.cancel()

        with on_signal(interrupt):
            return await main

    try:
        return asyncio.run(interruptible())
    except asyncio.CancelledError:
        if interrupted:
            raise KeyboardInterrupt from None
        raise


@contextmanager
def on_signal(act: Callable[[], None]) -> Iterator[None]:
    """Call `act` at the first SIGINT or SIGTERM. A second one does what it does without us: it ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # no signal comes here
        return
    loop = asyncio.get_running_loop()

    def on_first() -> None:
        forget()
        act()

    def forget() -> None:
        for number in SIGNALS:
            loop.remove_signal_handler(number)

    for number in SIGNALS:
        loop.add_signal_handler(number, on_first)
    try:
        yield
    finally:
        forget()


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let the first signal end the process while the event loop stands still, as it does at a question."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        _end_at(number)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end_at(number: signal.Signals) -> None:
    if number is signal.SIGINT:
        signal.signal(number, signal.default_int_handler)
    else:
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def until_signalled() -> Iterator[asyncio.Event]:
    """Give an event that the first SIGINT or SIGTERM sets."""
    stop = asyncio.Event()
    with on_signal(stop.set):
        yield stop
