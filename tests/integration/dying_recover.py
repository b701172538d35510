"""The real `waybill recover --yes`, which kills itself when it reaches a given step."""

import asyncio
import os
import signal
import sys

from processor.protocol.crash_points import Step
from processor.recovery.run import open_recovery
from runtime.settings import load_settings


async def main() -> None:
    fatal = Step(sys.argv[1])
    settings = load_settings({name: value for name, value in os.environ.items() if name.startswith("WAYBILL_")})

    def reached(step: Step) -> None:
        if step is fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    async with open_recovery(settings, reached) as recovery:
        await recovery.run(lambda _: None)


if __name__ == "__main__":
    asyncio.run(main())
