"""What KiriminAja says about its parcels: the tracking document, and the bodies of its webhooks. Pure.

From its pages "Tracking (Pull)" and "Event"; the complete format from its public documentation.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from devstack.couriers.lives import WALL, Habits, Life, Move, Parcel

Format = Literal["short", "complete"]

INSTANT_BODY: Final = "update_instant_packages"

SORTING_CODE: Final = "JOG-JOG1000-JKT2020"

LONGEST_ORDER_ID: Final = 20
"""The document: `order_id`, string(max:20), "Order ID or AWB of your parcels"."""

NOT_FOUND: Final[dict[str, Any]] = {"status": False, "text": "Data tidak ditemukan"}
UNAUTHORIZED: Final[dict[str, Any]] = {"status": False, "text": "Unauthorized"}

SCAN_WEBHOOKS: Final = {"100": "shipped_packages", "200": "finished_packages"}
"""The webhooks by which the demo's parcel tells its scans."""

SCANNED_PARCEL: Final = Parcel(
    sender="KiriminAja",
    recipient="Bagus",
    content="Kopi Gayo",
    weight=1,
    price=150_000,
    shipping=10_000,
    cod=0,
    insurance=0,
    carrier="jne",
    carrier_service="REG",
    origin="YOGYAKARTA",
    destination="SLEMAN",
    habits=Habits(),
)

ARRIVAL_DELAY: Final = timedelta(hours=3, minutes=53)
"""How much later `delivered_at` stands than the history's own entry: in the document's example it is not the same."""


# --- Pull -----------------------------------------------------------------------------------------------------------


def tracking(life: Life) -> dict[str, Any]:
    """Describe an express parcel as it stands: its details, and its history with the newest entry first."""
    last = life.moves[-1]
    return {
        "status": True,
        "text": last.text,
        "method": "shTracking",
        "status_code": int(last.word),
        "details": _details(life, last),
        "histories": [_history(life, number) for number in reversed(range(len(life.moves)))],
    }


def scanned(reference: str, scans: Iterable[tuple[datetime, str, str]]) -> Life:
    """Make the life of an express parcel of the demo, told by scans: time, code and text of each."""
    moves = tuple(Move(at, code, None, SCAN_WEBHOOKS[code], text) for at, code, text in scans)
    return Life("kiriminaja", "express", reference, reference, f"AWB-{reference}", SCANNED_PARCEL, moves)


def wall(at: datetime) -> str:
    """Write a time as KiriminAja does: the clock in Jakarta, without its zone."""
    return f"{at.astimezone(WALL):%Y-%m-%d %H:%M:%S}"


def minute(at: datetime) -> str:
    """Write a time of a history entry: a scan's seconds are not kept."""
    return wall(at.replace(second=0, microsecond=0))


def is_asked_by(life: Life, asked: str) -> bool:
    """Tell whether a parcel answers to this order id or AWB."""
    return asked == life.order_id or (_has_awb(life) and asked == life.awb)


def _history(life: Life, number: int) -> dict[str, Any]:
    """One entry. The first, KiriminAja's own, keeps its seconds in the document's example; scans do not."""
    move = life.moves[number]
    return {
        "created_at": minute(move.at) if number else wall(move.at),
        "status": move.text,
        "status_code": int(move.word),
        "driver": move.driver or "",
        "receiver": life.parcel.recipient.upper() if move.word == "200" else "",
    }


def _details(life: Life, last: Move) -> dict[str, Any]:
    parcel = life.parcel
    never = None if parcel.habits.null_dates else ""
    shipped, delivered, returned = _shipped(life), _first(life, "200"), _first(life, "402", "400")
    return {
        "awb": life.awb if _has_awb(life) else None,
        "signature_code": f"C{zlib.crc32(life.reference.encode()) % 10**7:07}",
        "sorting_code": SORTING_CODE,
        "order_id": life.order_id,
        "status_code": int(last.word) if parcel.habits.details_code else None,
        "estimation": "-",
        "service": parcel.carrier,
        "service_name": parcel.carrier_service,
        "drop": False,
        "shipped_at": wall(shipped) if shipped else never,
        "delivered": delivered is not None,
        "delivered_at": wall(delivered + ARRIVAL_DELAY) if delivered else never,
        "refunded": returned is not None,
        "refunded_at": wall(returned) if returned else never,
        "images": _images(life.reference if delivered else None),
        "costs": _costs(life),
        "origin": _place(parcel.sender, parcel.origin),
        "destination": _place(parcel.recipient, parcel.destination),
    }


def _images(delivered: str | None) -> dict[str, Any]:
    def picture(name: str) -> str | None:
        return f"https://pod.kiriminaja.example/{delivered}{name}||1411922100004643.jpeg" if delivered else None

    return {"camera_img": picture("P"), "signature_img": picture("S"), "pop_img": None}


def _costs(life: Life) -> dict[str, Any]:
    parcel = life.parcel
    return {
        "add_cost": 0,
        "currency": "IDR",
        "cod": parcel.cod,
        "insurance_amount": parcel.insurance,
        "insurance_percent": 0,
        "discount_amount": 0,
        "subsidi_amount": 0,
        "shipping_cost": parcel.shipping,
        "correction": 0,
    }


def _place(name: str, city: str) -> dict[str, Any]:
    return {
        "name": name,
        "address": "Jl. Utara Stadion No.8",
        "phone": "628000000",
        "city": f"Kabupaten {city.title()}",
        "zip_code": "55283",
    }


def _first(life: Life, *words: str) -> datetime | None:
    return next((move.at for move in life.moves if move.word in words), None)


def _pushed(life: Life, method: str) -> datetime | None:
    """Say when a parcel first did what this webhook tells."""
    return next((move.at for move in life.moves if move.push == method), None)


def _shipped(life: Life) -> datetime | None:
    return _pushed(life, "shipped_packages")


def _has_awb(life: Life) -> bool:
    """The AWB is made when the order is validated, "will be null if not processed yet"."""
    return life.service == "instant" or _pushed(life, "processed_packages") is not None


# --- Push -----------------------------------------------------------------------------------------------------------


def bodies(told: Iterable[Life], form: Format, bulk: int) -> Iterator[tuple[dict[str, Any], tuple[Life, ...]]]:
    """Make the webhooks that tell the last move of each life, at most `bulk` packages of one method in a body.

    A life may stand there several times, at different moves: no body names it twice, and its bodies come in its order.
    Lives whose last move has no webhook are passed over. Yields each body with the lives it tells of.
    """
    groups: dict[tuple[int, str, str], list[Life]] = {}
    rounds: Counter[str] = Counter()
    for life in told:
        if (method := life.moves[-1].push) is not None:
            groups.setdefault((rounds[life.reference], method, life.service), []).append(life)
            rounds[life.reference] += 1
    for (_, method, _), group in sorted(groups.items(), key=lambda item: item[0][0]):
        size = 1 if method == INSTANT_BODY else bulk
        for begin in range(0, len(group), size):
            batch = tuple(group[begin : begin + size])
            yield _body(method, batch, form), batch


def _body(method: str, batch: Sequence[Life], form: Format) -> dict[str, Any]:
    if method == INSTANT_BODY:
        return {"method": method, "data": _instant(batch[0])}
    if form == "short" and batch[0].service == "express":
        return {"method": method, "data": [_short(life, method) for life in batch]}
    return {
        "method": method,
        "data": [_complete(life) for life in batch],
        "payment": _payment(batch),
        "packages": [_package(life) for life in batch],
    }


def _short(life: Life, method: str) -> dict[str, Any]:
    """One item of the short format. problem_packages and rejected_packages are not in the document."""
    last = life.moves[-1]
    at = wall(last.at)
    match method:
        case "processed_packages":
            says: dict[str, Any] = {"awb": life.awb, "sorting_code": SORTING_CODE}
        case "shipped_packages":
            says = {"shipped_at": at}
        case "canceled_packages":
            says = {"date": at, "canceled_at": at, "reason": last.text}
        case "finished_packages":
            says = {"finished_at": at}
        case "returned_packages":
            says = {"returned_at": None if last.status == "RETURNING" else at}
        case "return_finished_packages":
            says = {"date": at}
        case "problem_packages":
            says = {"date": at, "reason": last.text}
        case "rejected_packages":
            says = {"rejected_at": at, "reason": last.text}
        case other:
            raise ValueError(f"no webhook of an express parcel is called {other!r}")
    return {"order_id": life.order_id, **says}


def _complete(life: Life) -> dict[str, Any]:
    """One item of the complete format: every time reached so far, a cancel's in `rejected_at`.

    `date` is when the order was made, the same on each of its webhooks.
    """
    last = life.moves[-1]
    returned = next((move.at for move in life.moves if move.status == "RETURNED"), None)

    def reached(at: datetime | None) -> str | None:
        return micro_zulu(at) if at else None

    return {
        "order_id": life.order_id,
        "awb": life.awb,
        "date": micro_zulu(life.moves[0].at),
        "shipped_at": reached(_shipped(life)),
        "finished_at": reached(_pushed(life, "finished_packages")),
        "returned_at": reached(returned),
        "rejected_at": reached(_pushed(life, "rejected_packages") or _pushed(life, "canceled_packages")),
        "reason": last.text if last.status in ("CANCELLED", "FAILED") else None,
    }


def micro_zulu(at: datetime) -> str:
    """Write a time as the complete format and the instant webhooks do: UTC, with microseconds."""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


def _payment(batch: Sequence[Life]) -> dict[str, Any]:
    return {
        "payment_id": f"PAY-{batch[0].order_id}",
        "amount": sum(life.parcel.shipping for life in batch),
        "status_code": 200,
        "qr_content": "",
        "pay_time": micro_zulu(batch[0].moves[0].at),
    }


def _package(life: Life) -> dict[str, Any]:
    """Describe a package beside its item. Its `status` contradicts itself between pages: it says nothing here."""
    parcel, last = life.parcel, life.moves[-1]
    instant = life.service == "instant"
    return {
        "awb": life.awb,
        "order_id": life.order_id,
        "service": "gosend" if instant else parcel.carrier,
        "service_type": "instant" if instant else "regular",
        "status": 1,
        "live_tracking_url": f"https://gjk.example/{life.order_id}" if instant else None,
        "poly_line": "",
        "origin": _place(parcel.sender, parcel.origin),
        "destination": _place(parcel.recipient, parcel.destination),
        "driver": {"name": last.driver, "phone": "628111111111", "image": ""} if last.driver else None,
    }


def _instant(life: Life) -> dict[str, Any]:
    """Describe an instant delivery in its older webhook. An awaited driver is an empty one."""
    last = life.moves[-1]
    canceled = last.word == "cancel"
    rejected = last.word == "return"
    return {
        "order_id": life.order_id,
        "status": last.word,
        "awb": life.awb,
        "driver": {
            "name": last.driver or "",
            "phone": "628111111111" if last.driver else "",
            "image": "https://gjk.example/driver.png" if last.driver else "",
        },
        "shipping_price": life.parcel.shipping,
        "live_track_url": f"http://gjk.example/{life.order_id}",
        "detail": {"weight": int(1000 * life.parcel.weight), "width": None, "height": None, "length": None},
        "insurance": None,
        "insurance_amount": life.parcel.insurance or None,
        "service": "gosend",
        "service_name": "instant",
        "poly_line": "",
        "event_date": micro_zulu(last.at),
        "cancel_date": micro_zulu(last.at) if canceled else None,
        "cancel_reason": last.text if canceled else None,
        "rejected_date": micro_zulu(last.at) if rejected else None,
        "rejection_note": last.text if rejected else None,
    }
