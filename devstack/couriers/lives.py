"""Lives of parcels as only their courier knows them: what happened, and when. Pure; the same seed gives the same lives.

Written from the couriers' documents alone: it shares no code with what reads the couriers' messages.
"""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from devstack.couriers.roads import (
    CANCEL_REASONS,
    CARRIERS,
    CITIES,
    CONTENTS,
    DASH_EXPRESS,
    DASH_LOGISTIC,
    DASH_MEANING,
    DRIVERS,
    END,
    FAIL_REASONS,
    INSTANT_MEANING,
    KIRIMINAJA_EXPRESS,
    KIRIMINAJA_INSTANT,
    KIRIMINAJA_INSTANT_NEWER,
    KIRIMINAJA_STEPS,
    PEOPLE,
    START,
    Road,
)

WALL: Final = ZoneInfo("Asia/Jakarta")
"""The clock of the couriers' offices, for times written without a zone."""

LONGEST: Final = timedelta(days=14)
"""No life lasts longer: one begun this long ago has ended."""

GAP_MINUTES: Final = (2, 600)
"""Between two moves. Two minutes at least: times cut to the minute keep their order."""

MANY_MOVES: Final = 14
"""A life that has so many takes the main road to its end."""


class Habits(msgspec.Struct, frozen=True):
    """Where the documents contradict themselves or leave it open, each life does it one way throughout."""

    null_dates: bool = False
    """KiriminAja: a date not reached is null ("Nullable") instead of the example's empty string."""
    details_code: bool = False
    """KiriminAja: `details.status_code` is set too, instead of the example's null."""
    in_delivery_updated: bool = False
    """Dash: IN_DELIVERY has `updatedAt` as its field reference says, instead of none as in the examples."""
    stale_pickup: bool = False
    """Dash LOGISTIC: `pickupAt` stays that of the first pick-up after a recovery."""


class Parcel(msgspec.Struct, frozen=True):
    """What does not change while it travels. Money in rupiah, weight in kilograms."""

    sender: str
    recipient: str
    content: str
    weight: float
    price: int
    shipping: int
    cod: int
    insurance: int
    carrier: str
    carrier_service: str
    origin: str
    destination: str
    habits: Habits


class Move(msgspec.Struct, frozen=True):
    """One thing that happened.

    `word` is the courier's own: Dash's status, KiriminAja's code of the pull history, an instant status or method.
    `status` is what the documents say it means; None: they do not say. `push` names the webhook that tells it; None:
    the courier has no webhook for it.
    """

    at: datetime
    word: str
    status: str | None
    push: str | None
    text: str = ""
    driver: str | None = None


class Life(msgspec.Struct, frozen=True):
    """A shipment from its first move to its last, or so far.

    `reference` is what its courier is asked by: Dash's deliveryID, KiriminAja's order_id.
    """

    courier: str
    service: str
    reference: str
    order_id: str
    awb: str
    parcel: Parcel
    moves: tuple[Move, ...]


def so_far(life: Life, moves: int) -> Life:
    """Return the life as it stood after so many moves."""
    return msgspec.structs.replace(life, moves=life.moves[:moves])


def truth(life: Life) -> str | None:
    """Say where the parcel stands: the last move that means something. None before the first."""
    return next((move.status for move in reversed(life.moves) if move.status), None)


def heard(life: Life) -> str | None:
    """Say what somebody knows who got every webhook: less than the truth where the courier has no webhook for it."""
    return next((move.status for move in reversed(life.moves) if move.status and move.push), None)


def untold(life: Life) -> tuple[Move, ...]:
    """Return the moves since the last one told by webhook that mean something else than that one: only a pull tells.

    Where there are none, somebody who got every webhook learns no new status by asking.
    """
    known = heard(life)
    told = max((number for number, move in enumerate(life.moves, start=1) if move.push), default=0)
    return tuple(move for move in life.moves[told:] if move.status and move.status != known)


def dash_express(number: int, seed: int, start: datetime) -> Life:
    """Make up a Dash EXPRESS delivery."""
    return _dash("express", DASH_EXPRESS, number, seed, start)


def dash_logistic(number: int, seed: int, start: datetime) -> Life:
    """Make up a Dash LOGISTIC delivery."""
    return _dash("logistic", DASH_LOGISTIC, number, seed, start)


def kiriminaja_express(number: int, seed: int, start: datetime) -> Life:
    """Make up a KiriminAja parcel."""
    chance = random.Random(f"kiriminaja express {seed} {number}")  # noqa: S311 - a simulation
    parcel = _parcel(chance)
    moves = []
    for name, at in zip(_walk(chance, KIRIMINAJA_EXPRESS), _times(chance, start), strict=False):
        step = KIRIMINAJA_STEPS[name]
        driver = chance.choice(DRIVERS) if name == "with_courier" else None
        moves.append(Move(at, step.code, step.status, step.push, _text(step.text, parcel, at), driver))
    order = f"OID-{seed}-{number}"
    return Life("kiriminaja", "express", order, order, f"KAX{seed:05}{number:07}", parcel, tuple(moves))


def kiriminaja_instant(number: int, seed: int, start: datetime) -> Life:
    """Make up a KiriminAja instant delivery, told in the older webhook or in the newer ones."""
    chance = random.Random(f"kiriminaja instant {seed} {number}")  # noqa: S311 - a simulation
    road = chance.choice((KIRIMINAJA_INSTANT, KIRIMINAJA_INSTANT_NEWER))
    parcel = _parcel(chance)
    driver = chance.choice(DRIVERS)
    moves = []
    for word, at in zip(_walk(chance, road), _times(chance, start), strict=False):
        push = "update_instant_packages" if road is KIRIMINAJA_INSTANT else word
        reasons = {
            "problem_packages": FAIL_REASONS,
            **dict.fromkeys(("cancel", "canceled_packages", "return"), CANCEL_REASONS),
        }
        text = chance.choice(reasons.get(word, ("",)))
        moves.append(Move(at, word, INSTANT_MEANING[word], push, text, None if word == "no_driver" else driver))
    order = f"INS-{seed}-{number}"
    return Life("kiriminaja", "instant", order, order, f"GK-{seed}-{number}", parcel, tuple(moves))


Kind = Callable[[int, int, datetime], Life]

PULLED_KINDS: Final[Sequence[Kind]] = (dash_express, dash_logistic, kiriminaja_express)
"""Those the couriers' tracking answers for: an instant delivery is not found there."""


def lives(count: int, seed: int, start: datetime, kinds: Sequence[Kind] = PULLED_KINDS) -> tuple[Life, ...]:
    """Make up so many lives, of each kind in turn, each begun within a day from `start`."""
    chance = random.Random(f"starts {seed}")  # noqa: S311 - a simulation
    return tuple(
        kinds[number % len(kinds)](number, seed, start + timedelta(minutes=chance.randrange(24 * 60)))
        for number in range(count)
    )


def _dash(service: str, road: Road, number: int, seed: int, start: datetime) -> Life:
    chance = random.Random(f"dash {service} {seed} {number}")  # noqa: S311 - a simulation
    assigned = "PENDING_PICKUP" if service == "express" else "PENDING_DELIVERY"
    driver: str | None = None
    moves: list[Move] = []
    for word, at in zip(_walk(chance, road), _times(chance, start), strict=False):
        if word == assigned or (moves and moves[-1].word == word):
            driver = chance.choice([name for name in DRIVERS if name != driver])
        reasons = {"FAILED": FAIL_REASONS, "CANCELLED": CANCEL_REASONS}.get(word, ("",))
        moves.append(Move(at, word, DASH_MEANING.get(word, word), word, chance.choice(reasons), driver))
    letter = service[0].upper()
    reference = f"DE-{letter}{seed:05}{number:07}"
    order = f"DASH-{letter}-{seed}-{number}"
    return Life("dash", service, reference, order, order, _parcel(chance), tuple(moves))


def _walk(chance: random.Random, road: Road) -> list[str]:
    words: list[str] = []
    word = START
    while word in road:
        word = road[word][0] if len(words) >= MANY_MOVES else chance.choice(road[word])
        if word != END:
            words.append(word)
    return words


def _times(chance: random.Random, start: datetime) -> list[datetime]:
    """Return more times than any life has moves, whole milliseconds."""
    times = [start]
    for _ in range(2 * MANY_MOVES):
        minute = times[-1].replace(second=0, microsecond=0) + timedelta(minutes=chance.randint(*GAP_MINUTES))
        times.append(minute + timedelta(milliseconds=chance.randrange(60_000)))
    return times


def _parcel(chance: random.Random) -> Parcel:
    carrier, carrier_service = chance.choice(CARRIERS)
    sender, recipient = chance.sample(PEOPLE, 2)
    origin, destination = chance.sample(CITIES, 2)
    price = 1000 * chance.randint(10, 500)
    return Parcel(
        sender=sender,
        recipient=recipient,
        content=chance.choice(CONTENTS),
        weight=chance.choice((1, 24.8, 80)),
        price=price,
        shipping=1000 * chance.randint(8, 60),
        cod=chance.choice((0, price)),
        insurance=chance.choice((0, 2500)),
        carrier=carrier,
        carrier_service=carrier_service,
        origin=origin,
        destination=destination,
        habits=Habits(*(chance.random() < 0.5 for _ in Habits.__struct_fields__)),
    )


def _text(template: str, parcel: Parcel, at: datetime) -> str:
    """Fill in a scan text. It repeats the time as the office's clock shows it."""
    return template.format(
        carrier=parcel.carrier,
        origin=parcel.origin,
        destination=parcel.destination,
        recipient=parcel.recipient.upper(),
        clock=f"{at.astimezone(WALL):%d-%m-%Y %H:%M}",
    )
