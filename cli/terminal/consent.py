"""Asking before something is changed."""

import argparse
from collections.abc import Callable
from typing import Any

from cli.exit_codes import DONE, FAILED
from cli.signals import ending_at_once
from cli.terminal.output import ask, can_be_answered, complain, say_json


def can_ask(arguments: argparse.Namespace) -> bool:
    """Whether it is settled, or can be asked, that something is changed. Complains where it cannot."""
    if arguments.yes or arguments.dry_run or (can_be_answered() and not arguments.json):
        return True
    complain("say --yes or --dry-run where nobody can be asked")
    return False


def agreed() -> bool:
    """Ask. Only yes is yes."""
    with ending_at_once():
        return ask("Shall this be done? [y/N]").lower() in {"y", "yes"}


def unconfirmed(
    arguments: argparse.Namespace, planned: Callable[[], None], value: Any, *, anything: bool = True
) -> int | None:
    """Say what would be done, and ask. Return None if it is to be done, else the exit code.

    `planned` says it in lines. With `--json` nobody is asked, and `value` is printed where nothing is done: because of
    `--dry-run`, or because there is not `anything` to do.
    """
    if not arguments.json:
        planned()
    if arguments.dry_run or not anything:
        if arguments.json:
            say_json(value)
        return DONE
    return None if arguments.yes or agreed() else FAILED


def offer_change(parser: argparse.ArgumentParser) -> None:
    """Offer what every command has that changes something."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--yes", action="store_true", help="do it without asking")
