"""A webhook's body in pieces, each of which becomes a raw record. Pure.

A body that is too much work, or that has too many items, becomes one record as it came: it is kept, and the processor
makes a dead letter of it.
"""

from typing import Final

from schemas.couriers.base import MAX_ITEMS, Courier, WebhookItem

MAX_TOKENS: Final = 200_000
"""How many tokens a body may have to be split at all: a second, in a thread. A body of the limit with real items has a
quarter of them; one that consists of nothing else would take minutes and gigabytes if the limit is large."""


def tokens(body: bytes) -> int:
    """Return at most how many values a JSON text has, in no time: its commas, brackets and braces."""
    return len(body) - len(body.translate(None, b",[{"))


def pieces(courier: Courier, body: bytes, count: int) -> list[WebhookItem]:
    """Return the pieces of a webhook's body, which has `count` tokens; one of it as it came where they are too many."""
    if count > MAX_TOKENS:
        return [WebhookItem(body, None)]
    found = courier.split(body)
    return found if len(found) <= MAX_ITEMS else [WebhookItem(body, None)]
