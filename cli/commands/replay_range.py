"""The range of a replay, as it stands on the command line."""

import argparse
from typing import Final

from cli.terminal.arguments import moment
from cli.terminal.output import complain
from operators.replay.jobs import Mode
from operators.replay.range import Selection, contradiction
from schemas.couriers import COURIERS
from schemas.records import coordinates

REPROCESS: Final = str(Mode.REPROCESS)
REPUBLISH: Final = str(Mode.REPUBLISH)

RANGE: Final = """\
RANGE: --since and --until go by the time received, all ends are exclusive, and all that is given must hold.
Records that replays or operators appended are passed over.
"""


def offer_range(parser: argparse.ArgumentParser) -> None:
    """Offer what says which records, or which stored events, a replay is about."""
    parser.add_argument("--since", type=moment, metavar="T", help="received at T or later (a time, or 2h, 3d ago)")
    parser.add_argument("--until", type=moment, metavar="T", help="received before T")
    parser.add_argument(
        "--from-offset", type=_at, action="append", default=[], metavar="P:O", help="from offset O of partition P on"
    )
    parser.add_argument(
        "--until-offset", type=_at, action="append", default=[], metavar="P:O", help="before offset O of partition P"
    )
    parser.add_argument(
        "--partition", type=_partition, action="append", default=[], metavar="P", help="this partition; repeatable"
    )
    parser.add_argument("--all", action="store_true", help="everything there is")
    parser.add_argument("--shipment", metavar="S", help="only this shipment's: its id, reference, order or AWB")
    parser.add_argument("--courier", choices=tuple(COURIERS), help="only this courier's")
    parser.add_argument(
        "--mode",
        choices=(REPROCESS, REPUBLISH),
        default=REPROCESS,
        help="reprocess (default): read raw records again, emit real differences; republish: stored events as they are",
    )


def _at(text: str) -> tuple[int, int]:
    try:
        return coordinates(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _partition(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a partition")
    return int(text)


def selected(arguments: argparse.Namespace) -> Selection | None:
    """Return what is meant; complain where that cannot be."""
    for name, given in (("--from-offset", arguments.from_offset), ("--until-offset", arguments.until_offset)):
        if len(dict(given)) < len(given):
            complain(f"{name} is given twice for a partition")
            return None
    selection = Selection(
        everything=arguments.all,
        since=arguments.since,
        until=arguments.until,
        from_offsets=dict(arguments.from_offset),
        until_offsets=dict(arguments.until_offset),
        partitions=tuple(sorted(set(arguments.partition))),
        shipment=arguments.shipment,
        courier=arguments.courier,
    )
    wrong = contradiction(selection)
    if wrong is not None:
        complain(wrong)
        return None
    return selection
