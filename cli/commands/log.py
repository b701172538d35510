"""`waybill log`: who did what."""

import argparse
from functools import partial
from typing import Any, Final

import msgspec

from cli.exit_codes import DONE
from cli.operating import operate
from cli.terminal.arguments import moment, offer_json, positive
from cli.terminal.output import complain, say, say_json
from cli.terminal.tables import say_table, short_time
from operators.shared.finding import find_shipment
from operators.views.log import Entry, entries
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings

LIMIT: Final = 100
"""How many entries are listed unless told otherwise: a few screens."""

SHOWN: Final = 200
"""Characters of an entry's detail in the table; `--json` has all."""


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.add_argument("--since", type=moment, metavar="T", help="only since then (a time, or 2h, 3d ago)")
    parser.add_argument("--operator", metavar="O", help="only what this one did")
    parser.add_argument("--shipment", metavar="S", help="only about this one: its id, reference, order or AWB")
    parser.add_argument("--limit", type=positive, default=LIMIT, metavar="N", help=f"at most N (default: {LIMIT})")
    offer_json(parser)
    parser.set_defaults(command=partial(operate, _log))


async def _log(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print the entries."""
    async with await open_pool(settings, OPERATOR, 1) as pool:
        shipment = arguments.shipment and await find_shipment(pool, arguments.shipment, known=False)
        async with pool.acquire() as connection:
            found = await entries(connection, arguments.since, arguments.operator, shipment, arguments.limit)
    if arguments.json:
        say_json(found)
        return DONE
    if not found:
        say("nothing")
        return DONE
    say_table(
        ("when", "operator", "command", "detail"),
        [(short_time(each.logged_at), each.operator, each.command, _detail(each)) for each in found],
    )
    if len(found) == arguments.limit:
        complain(f"there may be more: --limit {arguments.limit}")
    return DONE


def _detail(entry: Entry) -> str:
    told = entry.detail if isinstance(entry.detail, dict) else {"": entry.detail}
    text = " ".join(f"{name}={_value(value)}" for name, value in told.items() if value not in (None, [], {}))
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
