"""`waybill courier new`: the folder, the samples, the expectations and the registry's line of a new courier."""

import argparse
from typing import Any

from cli.exit_codes import DONE, FAILED
from cli.scaffold import CHECKOUT, ScaffoldError, is_checkout, scaffold
from cli.terminal.output import complain, say


def offer(verbs: Any) -> None:
    """Offer the verb where there is a checkout to write into: an image has no tests."""
    if not is_checkout(CHECKOUT):
        return
    new = verbs.add_parser(
        "new", help="begin a courier: its folder, samples, what they must come to, its registry line"
    )
    new.description = "Writes into this checkout what a courier needs, small and working. Nothing is overwritten."
    new.add_argument("name", metavar="NAME", help="the route /webhooks/NAME: lower case letters and digits")
    new.set_defaults(command=_new)


def _new(arguments: argparse.Namespace) -> int:
    try:
        written = scaffold(CHECKOUT, arguments.name)
    except ScaffoldError as error:
        complain(str(error))
        return FAILED
    for path in written:
        say(path)
    samples = f"schemas/couriers/{arguments.name}/samples/express/*.json"
    say("")
    say("Next: put captured bodies into its samples, and say what they mean; then")
    say(f"  .venv/bin/waybill courier try {samples} --courier {arguments.name}")
    say("  make schemas check")
    say("docs/adding-a-courier.md tells the rest.")
    return DONE
