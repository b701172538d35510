"""`waybill shipment ask`: the reconcile service, which has the couriers' keys, asks about a shipment now."""

import argparse
import secrets
from functools import partial
from typing import Any

from cli.exit_codes import DONE
from cli.operating import change
from cli.terminal.arguments import offer_json, why
from cli.terminal.consent import offer_change, unconfirmed
from cli.terminal.output import say, say_json
from operators.requests.asking import answered, in_words, last_in_words, look, request
from operators.shared.operator_log import operator_name
from runtime.postgres import OPERATOR, open_pool
from runtime.settings import Settings


def offer(verbs: Any) -> None:
    """Offer the verb."""
    ask = verbs.add_parser("ask", help="have the reconcile service ask the courier about it now, due or not")
    ask.add_argument("shipment", metavar="S", help="its id, reference, order or AWB")
    ask.add_argument("--reason", required=True, type=why, metavar="TEXT", help="why; it is kept")
    offer_change(ask)
    offer_json(ask)
    ask.set_defaults(command=partial(change, _ask))


async def _ask(settings: Settings, arguments: argparse.Namespace) -> int:
    async with await open_pool(settings, OPERATOR, 2) as pool:
        prospect = await look(pool, arguments.shipment)

        def planned() -> None:
            say(f"{prospect.shipment.courier} would be asked about {prospect.shipment.shipment_id}")
            say(last_in_words(prospect))
            if prospect.waiting is not None:
                say(f"{prospect.waiting.operator} asked for it before, and it is not answered yet")
            elif not prospect.is_asking:
                say("no `waybill reconcile` runs: it waits until one does")

        value = {"prospect": prospect, "dry_run": arguments.dry_run, "request": None}
        if (code := unconfirmed(arguments, planned, value)) is not None:
            return code
        asked = await request(pool, prospect, operator_name(settings), arguments.reason, _name())
        if prospect.is_asking:
            asked = await answered(pool, asked)
    if arguments.json:
        say_json({**value, "request": asked})
    else:
        say(in_words(asked, is_asking=prospect.is_asking))
    return DONE


def _name() -> str:
    return f"ask-{secrets.token_hex(8)}"
