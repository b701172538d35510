"""The `waybill` command: what it offers, and how its answers become exit codes."""

import argparse
import sys
from collections.abc import Callable, Collection, Sequence
from importlib import import_module
from typing import Final

from cli.exit_codes import DONE, FAILED, USAGE
from cli.signals import undo_ignoring
from cli.terminal.output import Parser, UnheardError, complain, unheard
from runtime.errors import SettingsError, SetupError

COMMANDS: Final = {
    "up": "run everything on this machine and play the bundled deliveries",
    "ingest": "run the HTTP door that takes the couriers' webhooks",
    "processor": "run the processor that makes events of webhooks",
    "console": "run the operators' console: what these commands show, for a browser",
    "migrate": "bring the database's schema up to date",
    "topics": "make the Kafka topics, or compare them with what they should be",
    "recover": "mend what stopped a partition: restored database, topic made anew, retention passed",
    "config": "show the settings in force, secrets masked",
    "replay": "read raw records again, or publish stored events again",
    "dlq": "dead letters: look at them, have them read again, drop them",
    "anomalies": "what could not simply be applied: look, accept, dismiss",
    "spool": "the door's spool: what waits in it, what a broker refused for good",
    "audit": "fold what is stored once more; compare with shipments and shipment.state; check the sums",
    "retention": "let go the history of silent shipments, and what nobody needs any more",
    "tail": "follow a topic, what is committed of it; Ctrl-C ends it",
    "lag": "how far each partition is applied and published, how much waits",
    "log": "what operators did, and whose personal data they looked at; newest first",
    "shipment": "look at shipments, decide about one",
    "reconcile": "ask couriers about shipments that have been silent, and append what no webhook told",
    "courier": "try a courier's bodies without running anything, send them to a door, begin a new courier",
    "doctor": "look at brokers, topics, durability, schema, cursors, clocks, settings",
    "completion": "print a script that completes these commands",
}
"""The commands in the order of `waybill --help`, which says this of each.

Each is the module of its name in `cli/commands/`. Its `offer(parser)` adds its arguments, and as the default of
`command` the function that runs it with what was parsed and returns the exit code.
"""

_EPILOG: Final = """\
Settings come from the environment, as WAYBILL_…; `waybill config` lists them.
Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    undo_ignoring()
    words = sys.argv[1:] if argv is None else argv
    typed = next((word for word in words if not word.startswith("-")), "")
    arguments = command_line({typed}).parse_args(words)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except SettingsError as error:
        for problem in error.problems:
            complain(problem)
        return USAGE
    except SetupError as error:
        complain(*str(error).split("\n"))
        return FAILED
    except UnheardError:
        unheard()
        return DONE
    except KeyboardInterrupt:
        return FAILED


def command_line(names: Collection[str] = COMMANDS.keys()) -> argparse.ArgumentParser:
    """Return what reads the command line: every command's name, and the arguments of those named.

    Only the modules of these commands are imported: `waybill config` needs no Kafka client.
    """
    parser = Parser(
        prog="waybill",
        description="Courier webhooks in, one exactly-once event stream out.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        command = commands.add_parser(name, help=text)
        if name in names:
            import_module(f"cli.commands.{name}").offer(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
