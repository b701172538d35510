"""How an operator's command runs, and how its failure becomes a line and an exit code."""

import argparse
from collections.abc import Callable, Coroutine
from typing import Any

from cli.exit_codes import FAILED, USAGE
from cli.signals import run
from cli.starting import start
from cli.terminal.consent import can_ask
from cli.terminal.output import complain, say_json
from cli.terminal.several import say_several
from operators.shared.errors import OperatorError, SeveralError
from processor.core.errors import ProcessorError
from runtime.kafka import KAFKA_ERRORS
from runtime.postgres import DATABASE_ERRORS
from runtime.settings import Settings

Command = Callable[[Settings, argparse.Namespace], Coroutine[Any, Any, int]]
"""What a command does. It returns the exit code."""


def operate(command: Command, arguments: argparse.Namespace) -> int:
    """Run an operator's command. Where it cannot be done, or a store fails, say why in a line.

    Where a name means several shipments, list them.
    """
    settings = start()
    try:
        return run(command(settings, arguments))
    except SeveralError as error:
        if arguments.json:
            say_json(error.matches)
        else:
            say_several(error)
    except (OperatorError, ProcessorError) as error:
        complain(str(error))
    except (*KAFKA_ERRORS, *DATABASE_ERRORS) as error:
        complain((str(error) or repr(error)).splitlines()[0])  # behind it PostgreSQL quotes rows
    return FAILED


def change(command: Command, arguments: argparse.Namespace) -> int:
    """Run an operator's command that changes something, where that is agreed to already, or somebody can be asked."""
    return operate(command, arguments) if can_ask(arguments) else USAGE
