"""`waybill topics apply` and `waybill topics check`."""

import argparse

from cli.exit_codes import DONE, FAILED
from cli.signals import run
from cli.starting import start
from cli.terminal.arguments import offer_json
from cli.terminal.output import complain, say, say_json
from runtime import topics
from runtime.settings import Settings


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command and its verbs."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    apply = verbs.add_parser("apply", help="create missing topics, mend their configs; never a partition count")
    offer_json(apply)
    apply.set_defaults(command=lambda arguments: run(_apply(start(), json=arguments.json)))

    check = verbs.add_parser("check", help="list every difference; exit 1 if there is one")
    offer_json(check)
    check.set_defaults(command=lambda arguments: run(_check(start(), json=arguments.json)))


async def _apply(settings: Settings, *, json: bool) -> int:
    """Make the topics and say what was done. It has failed if something differs that may not be changed."""
    applied = await topics.apply(settings)
    if json:
        say_json(applied)
    else:
        for name in applied.created:
            say(f"created {name}")
        for difference in applied.altered:
            say(f"altered {difference.topic}: {difference.property} {difference.found} → {difference.wanted}")
        if not (applied.created or applied.altered or applied.left):
            say("the topics are as they should be")
        for difference in applied.left:
            complain(f"{difference}; left as it is")
    return FAILED if applied.left else DONE


async def _check(settings: Settings, *, json: bool) -> int:
    """Say how the topics differ from what they should be. It has failed if they do."""
    differences = await topics.check(settings)
    if json:
        say_json({"ok": not differences, "differences": differences})
    elif differences:
        for difference in differences:
            say(str(difference))
    else:
        say("the topics are as they should be")
    return FAILED if differences else DONE
