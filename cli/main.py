"""The `waybill` command: what it offers, and how its answers become exit codes."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from cli.output import complain
from runtime.errors import SettingsError, SetupError
from runtime.settings import Settings, load_settings, secrets_settings, unknown_settings

DONE: Final = 0
FAILED: Final = 1
USAGE: Final = 2

_EPILOG: Final = """\
Settings come from the environment, as WAYBILL_…; `waybill config` lists them.
Exit codes: 0 done, 1 failed, 2 wrong usage or settings.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    arguments = _parser().parse_args(argv)
    command: Callable[[argparse.Namespace], int] = arguments.command
    try:
        return command(arguments)
    except SettingsError as error:
        for problem in error.problems:
            complain(problem)
        return USAGE
    except SetupError as error:
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
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
    recover.add_argument("--dry-run", action="store_true", help="only say what would be done")
    recover.add_argument("--yes", action="store_true", help="do it without asking")
    _offer_json(recover)
    recover.set_defaults(command=_recover)

    config = commands.add_parser("config", help="show the settings in force, secrets masked")
    _offer_json(config)
    config.set_defaults(command=_config)
    return parser


def _offer_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


# The commands import what they need when they run: `waybill config` needs no Kafka client.


def _up(arguments: argparse.Namespace) -> int:
    from cli.up import run  # noqa: PLC0415

    return run(once=arguments.once, samples=not arguments.no_samples)


def _ingest(_arguments: argparse.Namespace) -> int:
    settings = _start()
    if not settings.couriers_on:
        complain(f"no courier is on: set {' or '.join(secrets_settings())}")
        return USAGE
    from ingest.service import run  # noqa: PLC0415

    return run(settings)


def _processor(_arguments: argparse.Namespace) -> int:
    from processor.service import run  # noqa: PLC0415

    return run(_start())


def _migrate(arguments: argparse.Namespace) -> int:
    from cli.migrate import migrate  # noqa: PLC0415

    return _once(migrate, json=arguments.json)


def _topics_apply(arguments: argparse.Namespace) -> int:
    from cli.topics import apply  # noqa: PLC0415

    return _once(apply, json=arguments.json)


def _topics_check(arguments: argparse.Namespace) -> int:
    from cli.topics import check  # noqa: PLC0415

    return _once(check, json=arguments.json)


def _recover(arguments: argparse.Namespace) -> int:
    if not (arguments.yes or arguments.dry_run or (sys.stdin.isatty() and not arguments.json)):
        complain("say --yes or --dry-run where nobody can be asked")
        return USAGE
    from cli.recover import recover  # noqa: PLC0415

    return asyncio.run(recover(_start(), json=arguments.json, dry_run=arguments.dry_run, yes=arguments.yes))


def _config(arguments: argparse.Namespace) -> int:
    from cli.config import config  # noqa: PLC0415

    return config(os.environ, json=arguments.json)


def _once(command: Callable[..., Coroutine[Any, Any, int]], *, json: bool) -> int:
    return asyncio.run(command(_start(), json=json))


def _start() -> Settings:
    """Load the settings, set up the logs, and say what looks like a setting and is none."""
    import structlog  # noqa: PLC0415

    from runtime.logging import configure_logging  # noqa: PLC0415

    settings = load_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    for name in unknown_settings(os.environ):
        structlog.get_logger(__name__).warning("unknown setting", name=name)
    return settings


if __name__ == "__main__":
    sys.exit(main())
