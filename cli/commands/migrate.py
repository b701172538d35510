"""`waybill migrate`."""

import msgspec

from cli.terminal.output import say, say_json
from runtime import migrations
from runtime.settings import Settings


class _Applied(msgspec.Struct, frozen=True):
    version: int
    name: str


async def migrate(settings: Settings, *, json: bool) -> int:
    """Bring the database's schema up to date and say what was done."""
    applied = await migrations.migrate(settings)
    if json:
        say_json({"applied": [_Applied(migration.version, migration.name) for migration in applied]})
        return 0
    for migration in applied:
        say(f"applied {migration}")
    if not applied:
        say("the database's schema is up to date")
    return 0
