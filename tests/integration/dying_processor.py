"""The real processor, which kills or freezes itself when it reaches a given step for the n-th time."""

import os
import signal
import sys

from processor.protocol.crash_points import Step
from processor.service import serve
from runtime import lifecycle
from runtime.logging import configure_logging
from runtime.settings import load_settings


def main() -> int:
    step, nth, number = Step(sys.argv[1]), int(sys.argv[2]), signal.Signals[sys.argv[3]]
    settings = load_settings({name: value for name, value in os.environ.items() if name.startswith("WAYBILL_")})
    configure_logging(settings.log_level, settings.log_format)
    left = nth

    def reached(at: Step) -> None:
        nonlocal left
        if at is step:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), number)

    return lifecycle.run(lambda stop: serve(settings, stop, reached))


if __name__ == "__main__":
    sys.exit(main())
