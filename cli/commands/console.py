"""`waybill console`: what the commands show, for a browser; and the lines of its file of users."""

import argparse
import getpass
import sys

from cli.exit_codes import DONE, USAGE
from cli.starting import start
from cli.terminal.output import complain, say
from console import service
from console.passwords import MAX_PASSWORD_CHARS, hashed
from processor.recovery.run import halted
from runtime.values import ROLES, console_users

LEAST_PASSWORD_CHARS = 12
"""Shorter passwords can be tried out by whoever gets hold of the file."""


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.description = "Without a verb it runs the console until it is stopped."
    parser.set_defaults(command=lambda _arguments: service.run(start(), halted))
    verbs = parser.add_subparsers(metavar="VERB")
    user = verbs.add_parser("user", help="print a line for the file of users; the password is asked for, or read")
    user.add_argument("name", metavar="NAME", help="whom the operators' log will name")
    user.add_argument(
        "--role", action="append", choices=ROLES, help="viewer by default; may be repeated: operator, personal"
    )
    user.set_defaults(command=_user)


def _user(arguments: argparse.Namespace) -> int:
    """Print somebody's line."""
    asked = getpass.getpass if sys.stdin.isatty() else lambda _: sys.stdin.readline().rstrip("\n")
    password = asked(f"Password of {arguments.name}: ")
    if not LEAST_PASSWORD_CHARS <= len(password) <= MAX_PASSWORD_CHARS:
        complain(f"a password has {LEAST_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters")
        return USAGE
    line = f"{arguments.name}:{'+'.join(dict.fromkeys(arguments.role or ['viewer']))}:{hashed(password)}"
    try:
        console_users((line,))
    except ValueError as error:
        complain(str(error))
        return USAGE
    say(line)
    return DONE
