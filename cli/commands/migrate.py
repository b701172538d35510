"""`waybill migrate`."""

import argparse

import msgspec

from cli.exit_codes import DONE
from cli.signals import run
from cli.starting import start
from cli.terminal.arguments import offer_json
from cli.terminal.output import say, say_json
from runtime import migrations
from runtime.postgres import close, connect
from runtime.settings import Settings


class _Migration(msgspec.Struct, frozen=True):
    version: int
    name: str


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.add_argument(
        "--after", action="store_true", help="no older version runs any more: apply what is for after the roll-out, too"
    )
    offer_json(parser)
    parser.set_defaults(command=lambda arguments: run(_migrate(start(), after=arguments.after, json=arguments.json)))


async def _migrate(settings: Settings, *, after: bool, json: bool) -> int:
    """Bring the database's schema up to date and say what was done, and what is left for after the roll-out."""
    applied = await migrations.migrate(settings, after=after)
    left = await _left(settings)
    if json:
        say_json({"applied": _shown(applied), "left": _shown(left)})
        return DONE
    for migration in applied:
        say(f"applied {migration}")
    if not applied:
        say("the database's schema is up to date")
    if left:
        say(f"left for after the roll-out: {', '.join(map(str, left))}; then run `waybill migrate --after`")
    return DONE


async def _left(settings: Settings) -> tuple[migrations.Migration, ...]:
    connection = await connect(settings, "migrate")
    try:
        return await migrations.require_current_schema(connection)
    finally:
        await close(connection)


def _shown(found: tuple[migrations.Migration, ...]) -> list[_Migration]:
    return [_Migration(migration.version, migration.name) for migration in found]
