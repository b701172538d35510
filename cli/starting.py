"""How a command begins, and how its failure becomes a line and an exit code."""

import os
from collections.abc import Callable, Coroutine
from typing import Any, Final

from cli.signals import run
from cli.terminal.output import complain
from runtime.settings import Settings, load_settings, unknown_settings

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2


def start() -> Settings:
    """Load the settings, set up the logs, and say what looks like a setting and is none."""
    import structlog  # noqa: PLC0415

    from runtime.logging import configure_logging  # noqa: PLC0415

    settings = load_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    for name in unknown_settings(os.environ):
        structlog.get_logger(__name__).warning("unknown setting", name=name)
    return settings


def operate(command: Callable[[Settings], Coroutine[Any, Any, int]]) -> int:
    """Run an operator's command. Where it cannot be done, or a store fails, say why in a line.

    Raises:
        SeveralError: a name means several shipments.

    """
    from operators.shared.errors import OperatorError, SeveralError  # noqa: PLC0415
    from processor.core.errors import ProcessorError  # noqa: PLC0415
    from runtime.kafka import KAFKA_ERRORS  # noqa: PLC0415
    from runtime.postgres import DATABASE_ERRORS  # noqa: PLC0415

    settings = start()
    try:
        return run(command(settings))
    except SeveralError:
        raise
    except (OperatorError, ProcessorError) as error:
        complain(str(error))
    except (*KAFKA_ERRORS, *DATABASE_ERRORS) as error:
        complain((str(error) or repr(error)).splitlines()[0])  # behind it PostgreSQL quotes rows
    return FAILED
