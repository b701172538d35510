"""Lives of parcels as only their courier knows them: what happened, and when. Pure; the same seed gives the same lives.

Written from the couriers' documents alone: it shares no code with what reads the couriers' messages.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

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


# --- What follows what ----------------------------------------------------------------------------------------------
# From each word the words that may follow, the more often written the likelier. The first is the main road: it leads
# to an end. An empty word ends the life.

Road = Mapping[str, Sequence[str]]
START: Final = "start"
END: Final = ""

DASH_EXPRESS: Final[Road] = {
    START: ("ALLOCATING", "QUEUEING"),
    "QUEUEING": ("ALLOCATING",),
    "ALLOCATING": (*["PENDING_PICKUP"] * 8, "CANCELLED", "EXPIRED"),
    "PENDING_PICKUP": (*["PICKING_UP"] * 8, "PENDING_PICKUP", "CANCELLED"),
    "PICKING_UP": (*["PENDING_DELIVERY"] * 8, "ARRIVED_AT_PICKUP_POINT", "PENDING_PICKUP", "CANCELLED"),
    "ARRIVED_AT_PICKUP_POINT": ("PENDING_DELIVERY",),
    "PENDING_DELIVERY": (*["IN_DELIVERY"] * 8, "PENDING_PICKUP"),
    "IN_DELIVERY": (*["COMPLETED"] * 8, "FAILED", "FAILED", "PENDING_PICKUP", "IN_DELIVERY", "ARRIVED_AT_DESTINATION"),
    "ARRIVED_AT_DESTINATION": ("COMPLETED", "COMPLETED", "FAILED"),
    "FAILED": (END, END, "PENDING_RETURN", "RETURNED"),
    "PENDING_RETURN": ("IN_RETURN",),
    "IN_RETURN": ("RETURNED", "RETURNED", "RETURN_TO_HUB"),
    "RETURN_TO_HUB": ("DISPOSED",),
}
DASH_LOGISTIC: Final[Road] = {
    START: ("PREPARING", "PREPARING", "QUEUEING"),
    "QUEUEING": ("PREPARING",),
    "PREPARING": (*["VERIFIED"] * 8, *["NOT_VERIFIED"] * 4, "CANCELLED"),
    "NOT_VERIFIED": ("VERIFIED",),
    "VERIFIED": (*["PENDING_DELIVERY"] * 8, "PENDING_PICKUP", "PENDING_PICKUP", "CANCELLED"),
    "PENDING_PICKUP": ("PENDING_DELIVERY", "PENDING_DELIVERY", "PENDING_PICKING_UP"),
    "PENDING_PICKING_UP": ("PENDING_DELIVERY",),
    "PENDING_DELIVERY": ("IN_DELIVERY",),
    "IN_DELIVERY": ("COMPLETED", "COMPLETED", "COMPLETED", "FAILED", "FAILED"),
    "FAILED": (END, *["PENDING_DELIVERY"] * 4, "PENDING_PICKUP", "PENDING_RETURN", "IN_RETURN", "CANCELLED"),
    "PENDING_RETURN": ("IN_RETURN",),
    "IN_RETURN": ("RETURNED", "RETURNED", "DISPOSED"),
}
KIRIMINAJA_EXPRESS: Final[Road] = {
    START: ("created",),
    "created": (*["queued"] * 16, *["waiting_for_awb"] * 4, "canceled"),
    "waiting_for_awb": (*["queued"] * 12, "rejected"),
    "queued": (*["shipped"] * 16, *["validated"] * 4, *["picked_by_driver"] * 4, "canceled", "rejected"),
    "validated": ("shipped", "picked_by_driver"),
    "picked_by_driver": ("at_dc", "scan"),
    "at_dc": ("scan", "in_transit"),
    "shipped": (*["scan"] * 24, "lost", "damaged", "seized"),
    "scan": (*["with_courier"] * 16, *["scan"] * 6, "in_transit", "lost", "canceled", "returning"),
    "in_transit": (*["with_courier"] * 4, "sop_violation", "destroyed"),
    "sop_violation": ("with_courier",),
    "with_courier": (*["delivered"] * 6, *["undelivered"] * 3, "refused"),
    "undelivered": (*["redelivery"] * 5, "with_courier", "delivered", "returning", "returning", "damaged"),
    "refused": ("returning", "return_requested", "redelivery"),
    "redelivery": ("delivered", "delivered", "with_courier", "undelivered", "returning"),
    "returning": (*["returned"] * 4, *["scan_back"] * 4, *["return_finished"] * 4, "delivered"),
    "return_requested": ("returning",),
    "scan_back": ("returned", "scan_back", "return_finished"),
    "returned": (END, END, "return_finished"),
    "delivered": (*[END] * 12, "returned"),
    "canceled": (*[END] * 6, "delivered"),
    "lost": ("lost_claim", "scan"),
    "damaged": ("damage_claim", "scan", "returning"),
}
KIRIMINAJA_INSTANT: Final[Road] = {
    START: ("picked_up", "picked_up", "picked_up", "no_driver"),
    "no_driver": ("picked_up", "picked_up", "cancel"),
    "picked_up": (*["sent"] * 6, "cancel", "no_driver"),
    "sent": (*["delivered"] * 4, "return"),
    "return": ("returned", "returned", "delivered"),
}
KIRIMINAJA_INSTANT_NEWER: Final[Road] = {
    START: (*["shipped_packages"] * 6, "canceled_packages"),
    "shipped_packages": (*["finished_packages"] * 6, "canceled_packages", "problem_packages"),
    "problem_packages": ("finished_packages", "return_finished_packages"),
}


# --- What it means --------------------------------------------------------------------------------------------------


class Step(msgspec.Struct, frozen=True):
    """What a step of a KiriminAja parcel looks like: pull code, webhook, meaning, scan text."""

    code: str
    push: str | None
    status: str | None
    text: str


KIRIMINAJA_STEPS: Final[Mapping[str, Step]] = {
    "created": Step("100", None, "CREATED", "Paket dibuat oleh KiriminAja"),
    "waiting_for_awb": Step("105", None, "CREATED", "Paket menunggu AWB"),
    "queued": Step("101", "processed_packages", "PENDING_PICKUP", "Paket menunggu pickup"),
    "shipped": Step(
        "100", "shipped_packages", "IN_TRANSIT", "Shipment received by {carrier} counter officer at {origin}"
    ),
    "scan": Step("100", None, "IN_TRANSIT", "Shipment forwarded to destination {destination}"),
    "with_courier": Step("100", None, "IN_TRANSIT", "With delivery courier {destination}"),
    "validated": Step("102", None, "PENDING_PICKUP", "Divalidasi petugas pickup"),
    "picked_by_driver": Step("103", "shipped_packages", "IN_TRANSIT", "Paket diambil driver {origin}"),
    "at_dc": Step("104", None, "IN_TRANSIT", "Paket diterima di DC {origin}"),
    "in_transit": Step("106", None, "IN_TRANSIT", "Paket bersama kurir {destination}"),
    "sop_violation": Step("210", None, None, "Pelanggaran SOP"),
    "destroyed": Step("333", None, "DISPOSED", "Paket dimusnahkan kurir"),
    "refused": Step("301", "problem_packages", "FAILED", "Ditolak penerima | {clock} | {destination}"),
    "return_requested": Step("403", None, "RETURNING", "Permintaan retur"),
    "undelivered": Step("500", "problem_packages", "FAILED", "Alamat tidak ditemukan | {clock} | {destination}"),
    "redelivery": Step("152", None, "PENDING_DELIVERY", "Pengiriman ulang {destination}"),
    "delivered": Step("200", "finished_packages", "DELIVERED", "Delivered to {recipient} | {clock} | {destination} "),
    "canceled": Step("300", "canceled_packages", "CANCELLED", "3pl rejection"),
    "rejected": Step("300", "rejected_packages", "CANCELLED", "Paket ditolak kurir"),
    "returning": Step("401", "returned_packages", "RETURNING", "Paket dikembalikan ke pengirim"),
    "scan_back": Step("100", None, "RETURNING", "Shipment forwarded to origin {origin}"),
    "returned": Step("402", "returned_packages", "RETURNED", "Paket retur tiba di pengirim {origin}"),
    "return_finished": Step("400", "return_finished_packages", "RETURNED", "Retur selesai {origin}"),
    "seized": Step("555", None, "SEIZED", "Paket disita bea cukai"),
    "lost": Step("701", None, "LOST", "Paket hilang"),
    "damaged": Step("702", None, "DAMAGED", "Paket rusak"),
    "lost_claim": Step("703", None, "CLAIM_SETTLED", "Klaim paket hilang selesai"),
    "damage_claim": Step("704", None, "CLAIM_SETTLED", "Klaim paket rusak selesai"),
}

DASH_MEANING: Final[Mapping[str, str | None]] = {
    "QUEUEING": "CREATED",
    "PREPARING": "CREATED",
    "COMPLETED": "DELIVERED",
    "PENDING_RETURN": "RETURNING",
    "IN_RETURN": "RETURNING",
    "PENDING_PICKING_UP": "PENDING_PICKUP",
    "EXPIRED": "CANCELLED",
    "RETURN_TO_HUB": None,
    "ARRIVED_AT_PICKUP_POINT": None,
    "ARRIVED_AT_DESTINATION": None,
}
"""Every other word means itself."""

INSTANT_MEANING: Final[Mapping[str, str]] = {
    "no_driver": "NO_DRIVER",
    "picked_up": "PENDING_DELIVERY",
    "sent": "IN_DELIVERY",
    "delivered": "DELIVERED",
    "return": "RETURNING",
    "returned": "RETURNED",
    "cancel": "CANCELLED",
    "shipped_packages": "IN_TRANSIT",
    "finished_packages": "DELIVERED",
    "canceled_packages": "CANCELLED",
    "problem_packages": "FAILED",
    "return_finished_packages": "RETURNED",
}

DRIVERS: Final = ("Agus Wijayanto", "Dewi Lestari", "Rudi Hartono", "Wayan Sukerta")
PEOPLE: Final = ("Bagus", "Sari Sutarni", "Zainal Arifin", "Putri Ayu", "Made Wirawan")
CONTENTS: Final = ("Helm Sepeda", "Kopi Gayo", "Batik Tulis", "Buku Tulis A5")
CITIES: Final = ("YOGYAKARTA", "JAKARTA", "BANTUL", "SLEMAN", "DENPASAR")
CARRIERS: Final = (("jne", "REG"), ("jnt", "EZ"), ("sicepat", "BEST"), ("anteraja", "REG"))
FAIL_REASONS: Final = ("Alamat tidak ditemukan", "Penerima tidak di tempat")
CANCEL_REASONS: Final = ("Barang tidak jadi dikirim", "Salah alamat")


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
