"""The webhooks that tell of moves, and what becomes of them on the way. Pure."""

import random
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from devstack.couriers import dash, kiriminaja
from devstack.couriers.lives import Life


class Told(msgspec.Struct, frozen=True):
    """One move of one shipment: its place in the life, from 1."""

    reference: str
    move: int


class Webhook(msgspec.Struct, frozen=True):
    """One body and what it tells of."""

    courier: str
    body: bytes
    tells: tuple[Told, ...]


class Mischief(msgspec.Struct, frozen=True):
    """What the way does to webhooks: the share dropped, sent twice, and put at another place. Each from 0 to 1.

    `spare_first`: the first webhook of a shipment is never dropped, so that its receiver knows of it at all.
    """

    seed: int = 0
    drop: float = 0.0
    duplicate: float = 0.0
    shuffle: float = 0.0
    spare_first: bool = False


class Mangled(msgspec.Struct, frozen=True):
    """What is left to be sent, in this order, and what nobody will ever hear."""

    kept: tuple[Webhook, ...]
    dropped: tuple[Webhook, ...]


def webhooks(happened: Iterable[Life], form: kiriminaja.Format = "short", bulk: int = 1) -> tuple[Webhook, ...]:
    """Make the webhooks for moves that happened: each life's last move, in the order given.

    KiriminAja puts up to `bulk` packages of one method into a body; moves without a webhook are passed over.
    """
    lives = list(happened)
    made = [_webhook("dash", dash.envelope(life), [life]) for life in lives if life.courier == "dash"]
    parcels = [life for life in lives if life.courier == "kiriminaja"]
    made += [_webhook("kiriminaja", body, told) for body, told in kiriminaja.bodies(parcels, form, bulk)]
    return tuple(made)


def mangle(sent: Sequence[Webhook], mischief: Mischief) -> Mangled:
    """Drop some webhooks, repeat some and put some at other places. The same seed does the same."""
    chance = random.Random(mischief.seed)  # noqa: S311 - a simulation
    kept: list[Webhook] = []
    dropped: list[Webhook] = []
    known: set[str] = set()
    for webhook in sent:
        about = {told.reference for told in webhook.tells}
        spared = mischief.spare_first and not about <= known
        if chance.random() < mischief.drop and not spared:
            dropped.append(webhook)
            continue
        known |= about
        kept += [webhook] * (2 if chance.random() < mischief.duplicate else 1)
    places = [place for place in range(len(kept)) if chance.random() < mischief.shuffle]
    moved = [kept[place] for place in chance.sample(places, len(places))]
    for place, webhook in zip(places, moved, strict=True):
        kept[place] = webhook
    return Mangled(tuple(kept), tuple(dropped))


def _webhook(courier: str, body: dict[str, Any], told: Sequence[Life]) -> Webhook:
    return Webhook(courier, msgspec.json.encode(body), tuple(Told(life.reference, len(life.moves)) for life in told))
