"""`waybill up`."""

import argparse
import re
from typing import Final

MOST_TRAFFIC: Final = 1_000
"""Webhooks a second. One process sends them, beside all the others of this machine: it does not make many more."""


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    ending = parser.add_mutually_exclusive_group()
    ending.add_argument("--once", action="store_true", help="stop when every expected event was seen")
    ending.add_argument(
        "--traffic",
        type=_rate,
        default=0,
        metavar="N",
        help="then send N make-believe webhooks a second until Ctrl-C, some late, some twice",
    )
    parser.add_argument("--no-samples", action="store_true", help="play no deliveries, just run")
    parser.set_defaults(command=_up)


def _up(arguments: argparse.Namespace) -> int:
    # Needs what only developers install, which `waybill completion` must do without.
    from cli.demo import up  # noqa: PLC0415

    return up.run(once=arguments.once, samples=not arguments.no_samples, traffic=arguments.traffic)


def _rate(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII) or not 1 <= int(text) <= MOST_TRAFFIC:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MOST_TRAFFIC}")
    return int(text)
