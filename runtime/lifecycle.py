"""How a service lives: it runs until a signal, drains, and leaves in time."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
import uvloop

from runtime.errors import SetupError

DRAIN_SECONDS: Final = 8.0
"""How long a service may finish what it has in hand. With the rest below it is gone within 10 s of the signal."""

LAST_RESORT_SECONDS: Final = 9.5
"""After this the process leaves whatever still holds it."""

EXIT_DONE: Final = 0
EXIT_FAILED: Final = 1

log = structlog.get_logger(__name__)

Service = Callable[[asyncio.Event], Coroutine[Any, Any, None]]
"""A service's main coroutine. It returns soon after the event is set; what it raises ends the process."""


def run(service: Service) -> int:
    """Run a service until SIGTERM or SIGINT, or until it ends by itself. Return the exit code.

    A second signal stops it at once. An error is logged and gives 1.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_supervise(service))


async def _supervise(service: Service) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    task = asyncio.create_task(service(stop), name="service")

    def on_signal(name: str) -> None:
        if stop.is_set():
            task.cancel()
            return
        stop.set()
        loop.call_later(DRAIN_SECONDS, task.cancel)
        loop.call_later(LAST_RESORT_SECONDS, os._exit, EXIT_FAILED)
        log.info("stopping", signal=name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number.name)
    try:
        await task
    except asyncio.CancelledError:
        log.error("stopped before it was done", drain_seconds=DRAIN_SECONDS)  # noqa: TRY400
        return EXIT_FAILED
    except Exception as error:  # noqa: BLE001 - the process ends with it
        _tell(error)
        return EXIT_FAILED
    log.info("stopped")
    return EXIT_DONE


def _tell(error: Exception) -> None:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, SetupError):
        log.error("failed", reason=str(error))
    else:
        log.error("failed", exc_info=error)
