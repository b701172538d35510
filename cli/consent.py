"""Asking before something is changed."""

import argparse
import sys

from cli.output import complain
from cli.signals import ending_at_once


def can_ask(arguments: argparse.Namespace) -> bool:
    """Whether it is settled, or can be asked, that something is changed. Complains where it cannot."""
    if arguments.yes or arguments.dry_run or (sys.stdin.isatty() and not arguments.json):
        return True
    complain("say --yes or --dry-run where nobody can be asked")
    return False


def agreed() -> bool:
    """Ask. Only yes is yes."""
    sys.stderr.write("Shall this be done? [y/N] ")
    sys.stderr.flush()
    with ending_at_once():
        return sys.stdin.readline().strip().lower() in {"y", "yes"}


def offer_change(parser: argparse.ArgumentParser) -> None:
    """Offer what every command has that changes something."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--yes", action="store_true", help="do it without asking")
