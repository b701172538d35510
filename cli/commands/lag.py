"""`waybill lag`."""

import argparse
from datetime import timedelta
from typing import Any

from cli.starting import DONE, operate
from cli.terminal.arguments import offer_json
from cli.terminal.output import say_json
from cli.terminal.tables import say_table
from runtime.settings import Settings


def offer(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser("lag", help="how far each partition is applied and published, how much waits")
    offer_json(parser)
    parser.set_defaults(command=_lag)


def _lag(arguments: argparse.Namespace) -> int:
    return operate(lambda settings: lag(settings, json=arguments.json))


async def lag(settings: Settings, *, json: bool) -> int:
    """Print a row for each partition, and their sum."""
    from operators.views.lag import find_lag, total  # noqa: PLC0415

    found = await find_lag(settings)
    summed = total(found)
    if json:
        say_json({"partitions": found, "total": summed})
        return DONE
    rows = [
        (each.partition, each.log_end, each.processed, each.emitted, each.behind, each.unpublished, each.oldest_seconds)
        for each in found
    ]
    sums = ("total", None, None, None, summed.behind, summed.unpublished, summed.oldest_seconds)
    headings = ("partition", "log end", "processed", "emitted", "behind", "unpublished", "oldest waiting")
    say_table(headings, [(*row[:-1], _age(row[-1])) for row in (*rows, sums)])
    return DONE


def _age(seconds: float | None) -> str | None:
    return None if seconds is None else str(timedelta(seconds=round(seconds)))
