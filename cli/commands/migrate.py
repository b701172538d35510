"""`waybill migrate`."""

import argparse

import msgspec

from cli.exit_codes import DONE
from cli.signals import run
from cli.starting import start
from cli.terminal.arguments import offer_json
from cli.terminal.output import say, say_json
from runtime import migrations
from runtime.settings import Settings


class _Applied(msgspec.Struct, frozen=True):
    version: int
    name: str


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    offer_json(parser)
    parser.set_defaults(command=lambda arguments: run(_migrate(start(), json=arguments.json)))


async def _migrate(settings: Settings, *, json: bool) -> int:
    """Bring the database's schema up to date and say what was done."""
    applied = await migrations.migrate(settings)
    if json:
        say_json({"applied": [_Applied(migration.version, migration.name) for migration in applied]})
        return DONE
    for migration in applied:
        say(f"applied {migration}")
    if not applied:
        say("the database's schema is up to date")
    return DONE
