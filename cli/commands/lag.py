"""`waybill lag`."""

import argparse
from datetime import timedelta
from functools import partial

from cli.exit_codes import DONE
from cli.operating import operate
from cli.terminal.arguments import offer_json
from cli.terminal.output import say_json
from cli.terminal.tables import say_table
from operators.views.lag import find_lag, total
from runtime.settings import Settings


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    offer_json(parser)
    parser.set_defaults(command=partial(operate, _lag))


async def _lag(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print a row for each partition, and their sum."""
    found = await find_lag(settings)
    summed = total(found)
    if arguments.json:
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
