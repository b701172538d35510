"""The `waybill` command: what it offers, and how its answers become exit codes."""

import argparse
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from cli.commands import (
    anomalies,
    audit,
    completion,
    decisions,
    dlq,
    doctor,
    lag,
    log,
    reconcile,
    replay,
    retention,
    shipment,
    spool,
    tail,
)
from cli.signals import run, undo_ignoring
from cli.starting import DONE, FAILED, USAGE, start
from cli.terminal.consent import can_ask, offer_change
from cli.terminal.output import Parser, UnheardError, complain, say_json, unheard
from operators.shared.errors import SeveralError
from runtime.errors import SettingsError, SetupError
from runtime.settings import secrets_settings

_EPILOG: Final = """\
Settings come from the environment, as WAYBILL_…; `waybill config` lists them.
Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    undo_ignoring()
    arguments = command_line().parse_args(argv)
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
    except SeveralError as error:
        if getattr(arguments, "json", False):
            say_json(error.matches)
        else:
            shipment.say_several(error)
        return FAILED
    except UnheardError:
        unheard()
        return DONE
    except KeyboardInterrupt:
        return FAILED


def command_line() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = Parser(
        prog="waybill",
        description="Courier webhooks in, one exactly-once event stream out.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    up = commands.add_parser("up", help="run everything on this machine and play the bundled deliveries")
    up.add_argument("--once", action="store_true", help="stop when every expected event was seen")
    up.add_argument("--no-samples", action="store_true", help="play no deliveries, just run")
    up.set_defaults(command=_up)

    ingest = commands.add_parser("ingest", help="run the HTTP door that takes the couriers' webhooks")
    ingest.set_defaults(command=_ingest)

    processor = commands.add_parser("processor", help="run the processor that makes events of webhooks")
    processor.set_defaults(command=_processor)

    migrate = commands.add_parser("migrate", help="bring the database's schema up to date")
    _offer_json(migrate)
    migrate.set_defaults(command=_migrate)

    topics = commands.add_parser("topics", help="make the Kafka topics, or compare them with what they should be")
    verbs = topics.add_subparsers(metavar="VERB", required=True)
    apply = verbs.add_parser("apply", help="create missing topics, mend their configs; never a partition count")
    _offer_json(apply)
    apply.set_defaults(command=_topics_apply)
    check = verbs.add_parser("check", help="list every difference; exit 1 if there is one")
    _offer_json(check)
    check.set_defaults(command=_topics_check)

    recover = commands.add_parser(
        "recover", help="mend what stopped a partition: restored database, topic made anew, retention passed"
    )
    offer_change(recover)
    _offer_json(recover)
    recover.set_defaults(command=_recover)

    config = commands.add_parser("config", help="show the settings in force, secrets masked")
    _offer_json(config)
    config.set_defaults(command=_config)

    replay.offer(commands)
    dlq.offer(commands)
    anomalies.offer(commands)
    spool.offer(commands)
    audit.offer(commands)
    retention.offer(commands)
    tail.offer(commands)
    lag.offer(commands)
    log.offer(commands)
    decisions.offer(shipment.offer(commands))
    reconcile.offer(commands)
    doctor.offer(commands)
    completion.offer(commands, parser)
    return parser


def _offer_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


# The commands import what they need when they run: `waybill config` needs no Kafka client.


def _up(arguments: argparse.Namespace) -> int:
    from cli.demo import up  # noqa: PLC0415

    return up.run(once=arguments.once, samples=not arguments.no_samples)


def _ingest(_arguments: argparse.Namespace) -> int:
    settings = start()
    if not settings.couriers_on:
        complain(f"no courier is on: set {' or '.join(secrets_settings())}")
        return USAGE
    from ingest import service  # noqa: PLC0415

    return service.run(settings)


def _processor(_arguments: argparse.Namespace) -> int:
    from processor import service  # noqa: PLC0415

    return service.run(start())


def _migrate(arguments: argparse.Namespace) -> int:
    from cli.commands.migrate import migrate  # noqa: PLC0415

    return _once(migrate, json=arguments.json)


def _topics_apply(arguments: argparse.Namespace) -> int:
    from cli.commands.topics import apply  # noqa: PLC0415

    return _once(apply, json=arguments.json)


def _topics_check(arguments: argparse.Namespace) -> int:
    from cli.commands.topics import check  # noqa: PLC0415

    return _once(check, json=arguments.json)


def _recover(arguments: argparse.Namespace) -> int:
    if not can_ask(arguments):
        return USAGE
    from cli.commands.recover import recover  # noqa: PLC0415

    return run(recover(start(), json=arguments.json, dry_run=arguments.dry_run, yes=arguments.yes))


def _config(arguments: argparse.Namespace) -> int:
    from cli.commands.config import config  # noqa: PLC0415

    return config(os.environ, json=arguments.json)


def _once(command: Callable[..., Coroutine[Any, Any, int]], *, json: bool) -> int:
    return run(command(start(), json=json))


if __name__ == "__main__":
    sys.exit(main())
