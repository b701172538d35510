"""`waybill retention`."""

import argparse
from functools import partial

import msgspec

from cli.exit_codes import DONE
from cli.operating import change
from cli.terminal.arguments import offer_json, positive
from cli.terminal.consent import offer_change, unconfirmed
from cli.terminal.output import complain, say, say_json
from operators.retention.limits import Limits, limits_in_force, oldest_letters
from operators.retention.run import LOCK, Count, Retention, survey
from operators.shared.locking import alone
from operators.shared.operator_log import operator_name
from runtime.appending import open_appender
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings
from schemas.times import format_time


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.add_argument("--limit", type=positive, metavar="N", help="retire at most N shipments")
    parser.add_argument("--rate", type=positive, metavar="N", help="retire at most N shipments a second")
    offer_change(parser)
    offer_json(parser)
    parser.set_defaults(command=partial(change, _let_go))


async def _let_go(settings: Settings, arguments: argparse.Namespace) -> int:
    old, oldest = await limits_in_force(settings), await oldest_letters(settings)
    async with await open_pool(settings, OPERATOR, 2) as pool:
        found = await survey(pool, old, oldest, arguments.limit)
        value = {"limits": old, "found": found, "dry_run": arguments.dry_run, "done": None}
        code = unconfirmed(arguments, lambda: _say_planned(old, found), value, anything=found != Count())
        if code is not None:
            return code
        async with alone(pool, LOCK, "run of retention"), open_appender(settings) as appender:
            run = Retention(pool, appender, old, oldest, operator_name(settings))
            done = await run.run(arguments.limit, arguments.rate, complain if arguments.json else say)
    if arguments.json:
        say_json({**value, "done": done})
    else:
        _say_count(done, " gone")
    return DONE


def _say_planned(old: Limits, found: Count) -> None:
    say(f"final shipments silent since {format_time(old.silent_since)} keep their row and lose the rest,")
    say(f"and so do those silent since {format_time(old.unfinished_since)} that never became final")
    _say_count(found, "")


def _say_count(count: Count, ending: str) -> None:
    for name, number in msgspec.to_builtins(count).items():
        say(f"  {number:>9} {name.replace('_', ' ')}{ending if name != 'spared' else ''}")
