"""Webhooks as couriers would send them, and as nobody should: for hypothesis.

*Lives* are what a parcel really goes through, each step a body of the courier's own shape, then lost, repeated and
mixed up on the way. *Arbitrary sets* are bodies of any words, counts and times, with as many ties as possible.
Everything ends as raw records, so that the real reading is exercised.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from schemas.couriers import COURIERS
from schemas.couriers.base import WebhookItem
from schemas.records import Provenance, RawRecord
from schemas.vocabulary import Source
from tests.model.reference import KIRIMINAJA_EXPRESS
from tests.unit.schemas.reading import answered

START = datetime(2025, 3, 1, 8, tzinfo=UTC)
MINUTE = timedelta(minutes=1)

DASH_DETAILS_ONLY = [
    *("PENDING_PAYMENT", "ON_HOLD", "FAILED_IN_RETURN", "RETURN_TO_HUB", "ARRIVED_AT_PICKUP_POINT"),
    *("ARRIVED_AT_DESTINATION", "ARRIVED_AT_RETURN_POINT", "ARRIVED_AT_HUB"),
]
DASH_BOTH = [
    *("QUEUEING", "PENDING_PICKUP", "PENDING_DELIVERY", "IN_DELIVERY", "FAILED", "COMPLETED", "CANCELLED", "EXPIRED"),
    *("PENDING_RETURN", "IN_RETURN", "RETURNED", "DISPOSED"),
]
"""Words that both services have."""

DASH_LOGISTIC = [*DASH_BOTH, "PREPARING", "VERIFIED", "NOT_VERIFIED", "PENDING_PICKING_UP"]
DASH_KNOWN = [*DASH_LOGISTIC, "ALLOCATING", "PICKING_UP"]
KIRIMINAJA_METHODS = [
    "processed_packages",
    "shipped_packages",
    "canceled_packages",
    "finished_packages",
    "returned_packages",
    "return_finished_packages",
    "problem_packages",
    "rejected_packages",
]
KIRIMINAJA_STATUSES = ["picked_up", "sent", "no_driver", "delivered", "cancel", "return", "returned"]


@dataclass(frozen=True)
class Webhook:
    """One body at the door, or the courier's answer about the reference that was `asked` for.

    `item` is set where it already is one item of a longer body.
    """

    courier: str
    body: bytes
    received_at: datetime
    source: Source = Source.PUSH
    item: int | None = None
    asked: str | None = None


def pieces_of(webhook: Webhook) -> list[WebhookItem]:
    """The raw records it becomes."""
    if webhook.asked is None:
        return COURIERS[webhook.courier].split(webhook.body)
    pieces = answered(webhook.courier, webhook.body, webhook.asked)
    assert isinstance(pieces, list)
    return pieces


def raw_records(webhooks: Sequence[Webhook]) -> list[RawRecord]:
    """What the door and the puller make of them: one record for each piece, at the offsets 0, 1, 2, …"""
    records: list[RawRecord] = []
    for number, webhook in enumerate(webhooks):
        pieces = pieces_of(webhook)
        for place, piece in enumerate(pieces, start=1):
            provenance = Provenance(
                courier=webhook.courier,
                received_at=webhook.received_at,
                source=webhook.source,
                webhook_id=f"w{number}",
                item=webhook.item or place,
                items=max(webhook.item or 1, len(pieces)),
            )
            records.append(
                RawRecord(
                    partition=0,
                    offset=len(records),
                    key=piece.reference.encode() if piece.reference else None,
                    value=piece.value,
                    headers=tuple(provenance.headers()),
                    timestamp_ms=int(webhook.received_at.timestamp() * 1000),
                )
            )
    return records


def renumbered(records: Sequence[RawRecord]) -> list[RawRecord]:
    """The same records in a log of their own, in this order."""
    return [msgspec.structs.replace(record, offset=offset) for offset, record in enumerate(records)]


# --- Times ----------------------------------------------------------------------------------------------------------


def zulu(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def naive(moment: datetime) -> str:
    """A time without a zone, as it is on a wall in Jakarta."""
    return f"{moment + timedelta(hours=7):%Y-%m-%d %H:%M:%S}"


few_moments = st.sampled_from([START + step * MINUTE for step in range(5)])
"""So few that equal times are common."""

zero_dates = st.sampled_from(
    [
        *("0000-00-00 00:00:00", "-0001-11-30T00:00:00.000000Z", "1970-01-01 00:00:00", "1970-01-01T00:00:00.000000Z"),
        *("1999-12-31T23:59:59Z", "0001-01-01 00:00:00"),
    ]
)
odd_values: st.SearchStrategy[Any] = st.one_of(
    zero_dates,
    st.sampled_from([None, "", "soon", "2025-02-30T00:00:00Z", 1735308506, 1.5, True, [], {}, "2025-03-01"]),
)
written_times: st.SearchStrategy[Any] = st.one_of(
    few_moments.map(zulu),
    few_moments.map(zulu),
    few_moments.map(naive),
    few_moments.map(lambda moment: f"{moment + timedelta(hours=7):%Y-%m-%dT%H:%M:%S}+07:00"),
    few_moments.map(lambda moment: zulu(moment + timedelta(days=1))),
    st.sampled_from(["2031-01-01T00:00:00Z", "9999-12-31T23:59:59.999999-12:00", "0001-01-01T00:00:00+14:00"]),
    odd_values,
)
received_times = st.one_of(few_moments, few_moments.map(lambda moment: moment - timedelta(days=1)))

# --- Details --------------------------------------------------------------------------------------------------------

odd_texts = st.sampled_from(
    ["", "a", "rumah kosong", "\x00", "\ud800", "é\u2028", "x" * 3000, "🛵", '"\\', "\ufffd", "NaN"]
)
odd_numbers = st.sampled_from([0, 1, -1, 21000, 24.8, 1e308, 10**30, -(10**30), 2**63, 2**64, True])
scalars: st.SearchStrategy[Any] = st.one_of(st.none(), odd_texts, odd_numbers)
odd_json = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd_texts, inner, max_size=3)),
    max_leaves=5,
)


def encoded(value: Any) -> bytes:
    """JSON as a careless sender writes it: numbers of any size, lone surrogates escaped. msgspec would refuse."""
    return json.dumps(value).encode()


BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def spellings(reference: str) -> st.SearchStrategy[str]:
    """A reference, mostly as it is, else with white space around it."""
    plain, around = st.just(reference), [f" {reference}", f"{reference}\u3000", f"\t{reference}\u00a0\r\n"]
    return st.one_of(plain, plain, plain, st.sampled_from(around))


# --- Dash -----------------------------------------------------------------------------------------------------------


def dash_body(word: str, count: int, at: datetime, reference: str = "DE-1", **more: Any) -> dict[str, Any]:
    """A body as the document shows it for this word."""
    own = {"COMPLETED": "completedAt", "FAILED": "failedAt", "CANCELLED": "cancelledAt"}.get(word, "updatedAt")
    body = {
        "providerOrderID": "AWB-TEST-1",
        "deliveryID": reference,
        "status": word,
        "failedCount": count,
        "weight": 24.8,
        "media": [],
        "quote": {"amount": 21000},
        "recipient": {"firstName": "Sari", "actualRecipientName": "John Doe" if word == "COMPLETED" else None},
        "createdAt": zulu(START),
        own: zulu(at),
    }
    if word == "FAILED":
        body["failedReason"] = "Alamat tidak ditemukan"
    if word == "CANCELLED":
        body["cancelledReason"] = "Batal"
    return {**body, **more}


Words = list[tuple[str, int]]


@st.composite
def express_words(draw: st.DrawFn) -> Words:
    words: Words = [("QUEUEING", 0)] if draw(st.booleans()) else []
    words.append(("ALLOCATING", 0))
    drive = ["PENDING_PICKUP", "PICKING_UP", "PENDING_DELIVERY", "IN_DELIVERY"]
    for _ in range(draw(st.integers(1, 3))):
        words += [(word, 0) for word in drive[: draw(st.integers(1, 4))]]
    if words[-1][0] != "IN_DELIVERY":
        last = draw(st.sampled_from(["CANCELLED", "EXPIRED", None]))
        return [*words, (last, 0)] if last else words
    last = draw(st.sampled_from(["COMPLETED", "FAILED", "FAILED", None]))
    if last == "FAILED":
        words.append((last, 1))
        words += draw(st.sampled_from([[], [(word, 1) for word in [*drive, "COMPLETED"]], *_ways_back(1)]))
    elif last:
        words.append((last, 0))
    return words


def _ways_back(count: int) -> list[Words]:
    ways = (["PENDING_RETURN", "IN_RETURN", "RETURNED"], ["IN_RETURN", "DISPOSED"], ["RETURNED"])
    return [[(word, count) for word in way] for way in ways]


@st.composite
def logistic_words(draw: st.DrawFn) -> Words:
    words: Words = [("QUEUEING", 0)] if draw(st.booleans()) else []
    words += [("PREPARING", 0)] if draw(st.booleans()) else []
    words += [("NOT_VERIFIED", 0)] * draw(st.integers(0, 2))
    words.append(("VERIFIED", 0))
    words += draw(
        st.sampled_from([[], [], [("PENDING_PICKUP", 0)], [("PENDING_PICKUP", 0), ("PENDING_PICKING_UP", 0)]])
    )
    failures = draw(st.integers(0, 3))
    for count in range(failures):
        words += [("PENDING_DELIVERY", count), ("IN_DELIVERY", count), ("FAILED", count + 1)]
        words += [("PENDING_PICKUP", count + 1)] if count + 1 < failures and draw(st.booleans()) else []
    end = draw(st.sampled_from(["delivered", "returned", "cancelled", "open"]))
    if end == "cancelled":
        words.append(("CANCELLED", failures))
    elif end == "delivered" or not failures:
        words += [("PENDING_DELIVERY", failures), ("IN_DELIVERY", failures), ("COMPLETED", failures)]
    elif end == "returned":
        words += draw(st.sampled_from(_ways_back(failures)))
    return words


@st.composite
def dash_life(draw: st.DrawFn, service: str) -> list[Webhook]:
    """One delivery from first to last word, in order."""
    words = draw(express_words() if service == "express" else logistic_words())
    if draw(st.booleans()):
        words.insert(draw(st.integers(0, len(words))), (draw(st.sampled_from(DASH_DETAILS_ONLY)), 0))
    at, pickup = START, None
    webhooks = []
    for word, count in words:
        at += draw(st.sampled_from([MINUTE, 5 * MINUTE, timedelta(milliseconds=750)]))
        more: dict[str, Any] = {}
        if word == "PENDING_DELIVERY" and (pickup is None or draw(st.booleans())):
            pickup = at
        if pickup and word not in {"PENDING_PICKUP", "PICKING_UP"}:
            more["pickupAt"] = zulu(pickup)
        if word == "IN_DELIVERY" and draw(st.booleans()):
            more["updatedAt"] = None
        waiting = {"QUEUEING", "ALLOCATING", "EXPIRED", "PREPARING", "VERIFIED", "NOT_VERIFIED"}
        driving = word not in {*DASH_DETAILS_ONLY, *waiting}
        more["courier"] = {"name": draw(st.sampled_from(["Agus", "Budi"])), "phone": "0811"} if driving else None
        if service == "express" and driving and word != "CANCELLED":
            more["trackingURL"] = "https://www.tracking.dummy.com"
            if pickup:
                more["media"] = [{"url": "https://s/PICKUP_PROOF", "type": "PICKUP_PROOF", "createdAt": zulu(pickup)}]
        body = dash_body(word, count, at, **more)
        webhooks.append(Webhook("dash", encoded(body), at + draw(st.sampled_from([MINUTE / 60, 2 * MINUTE]))))
    return webhooks


@st.composite
def dash_webhook(draw: st.DrawFn, words: Sequence[str], *, marks: bool = True) -> Webhook:
    """Any body: any word, count, times, marks and details."""
    body: dict[str, Any] = {"deliveryID": draw(spellings("DE-1")), "status": draw(st.sampled_from(words))}
    counts: list[Any] = [0, 0, 0, 1, 1, 2, 3, 2.0, "0", "1", "2", "02", " 1", "one", None, -1, 1.5, 2**40, True]
    body["failedCount"] = draw(st.sampled_from(counts))
    for name in ("updatedAt", "pickupAt", "completedAt", "failedAt", "cancelledAt"):
        if draw(st.booleans()):
            body[name] = draw(written_times)
    if marks and draw(st.integers(0, 5)) == 0:
        body["trackingURL"] = draw(st.sampled_from(["https://t/1", "https://t/2", "", 5, "x" * 3000]))
    if draw(st.integers(0, 3)) == 0:
        kinds = ["PICKUP_PROOF", "DELIVERY_PROOF"] if marks else ["DELIVERY_PROOF", "FAILED_PROOF", None]
        proof = {"url": "https://s/1", "type": draw(st.sampled_from(kinds)), "createdAt": draw(written_times)}
        body["media"] = draw(st.sampled_from([[proof], [proof, proof], [None, proof], proof]))
    body |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "courier": st.sampled_from([None, {"name": "Agus"}, {"name": "Budi", "phone": "08"}, "Agus", {}]),
                "quote": st.sampled_from([{"amount": 21000}, {"amount": 9.5}, {"amount": 10**30}, None, 5]),
                "failedReason": odd_texts,
                "cancelledReason": odd_texts,
                "providerOrderID": odd_texts,
                "recipient": st.sampled_from([{"actualRecipientName": "Sari"}, {"actualRecipientName": ""}, None]),
            },
        )
    )
    return draw(_arrived("dash", body))


# --- KiriminAja -----------------------------------------------------------------------------------------------------

METHOD_TIMES = {
    "shipped_packages": "shipped_at",
    "canceled_packages": "canceled_at",
    "finished_packages": "finished_at",
    "returned_packages": "returned_at",
    "return_finished_packages": "return_finished_at",
    "rejected_packages": "rejected_at",
    "problem_packages": "problem_at",
}
COMPLETE_TIMES = {**METHOD_TIMES, "canceled_packages": "rejected_at", "return_finished_packages": "returned_at"}
"""The complete format has four times only."""

ORDERED = zulu(START - timedelta(hours=3))
"""When an order was made: `date` in the complete format, whatever the webhook tells."""


def kiriminaja_item(
    method: str, at: datetime, reference: str, *, complete: bool, going_back: bool, dated: bool = True
) -> dict[str, Any]:
    """An item as the document shows it for this method. `dated`: problems and old returns say when by `date`."""
    if not complete:
        own = METHOD_TIMES.get(method)
        item: dict[str, Any] = {"order_id": reference}
        if method == "processed_packages":
            item["awb"] = f"Y-{reference}"
        elif dated and method in {"problem_packages", "return_finished_packages", "validated_packages"}:
            item["date"] = naive(at)
        elif own:
            item[own] = None if going_back else naive(at)
        return item
    times = dict.fromkeys(("shipped_at", "finished_at", "returned_at", "rejected_at"))
    item = {"order_id": reference, "awb": f"Y-{reference}", "date": ORDERED, **times, "reason": None}
    own = COMPLETE_TIMES.get(method)
    if own in times and not going_back:
        item[own] = zulu(at)
    return item


def has_time(method: str, *, complete: bool, going_back: bool) -> bool:
    """Whether an item of this method says when it happened."""
    return not going_back and not (complete and method == "problem_packages")


ENDS: dict[str, list[str]] = {
    "delivered": ["finished_packages"],
    "returned": ["returning", "problem_packages", "returned_packages"],
    "deprecated": ["returning", "return_finished_packages"],
    "called off": ["returning", "finished_packages"],
    "falsely delivered": ["finished_packages", "returning", "returned_packages"],
    "cancelled": ["canceled_packages"],
    "rejected": ["rejected_packages"],
    "cancelled in vain": ["canceled_packages", "processed_packages", "shipped_packages", "finished_packages"],
    "cancelled and back": ["canceled_packages", "returned_packages", "return_finished_packages"],
    "open": [],
}


@st.composite
def kiriminaja_express_life(draw: st.DrawFn) -> list[Webhook]:
    """A parcel, alone or in bulk with another that goes the same way."""
    steps = ["processed_packages"]
    if draw(st.booleans()):
        steps.insert(draw(st.integers(0, 1)), "validated_packages")
    end = draw(st.sampled_from(sorted(ENDS)))
    if end not in {"cancelled", "rejected"} or draw(st.booleans()):
        steps.append("shipped_packages")
        steps += ["problem_packages"] * draw(st.integers(0, 2))
        steps += ["shipped_packages"] * draw(st.integers(0, 1))
    steps += ENDS[end]
    references = draw(st.sampled_from([["X"], ["X"], ["X", "Y"]]))
    complete, singular, dated = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    at, webhooks = START, []
    for step in steps:
        method, going_back = ("returned_packages", True) if step == "returning" else (step, False)
        at += draw(st.sampled_from([MINUTE, 60 * MINUTE]))
        items: Any = [
            kiriminaja_item(method, at, reference, complete=complete, going_back=going_back, dated=dated)
            for reference in references
        ]
        if method == "problem_packages":
            items = [{**item, "reason": draw(st.sampled_from(["rumah kosong", "alamat"]))} for item in items]
        if going_back and not complete:
            items = [{**item, "returned_at": draw(st.one_of(st.none(), zero_dates))} for item in items]
        body: dict[str, Any] = {"method": method.removesuffix("s") if singular else method, "data": draw(shaped(items))}
        if complete:
            body["payment"] = {"payment_id": "P1", "amount": 1, "pay_time": None}
            body["packages"] = [
                {"order_id": reference, "awb": f"Y-{reference}", "service": "jne", "service_type": "REG", "status": 3}
                for reference in references
            ]
            if draw(st.integers(0, 4)) == 0:
                del body["data"]
        webhooks.append(Webhook("kiriminaja", encoded(body), at + draw(st.sampled_from([MINUTE / 60, 3 * MINUTE]))))
    return webhooks


def shaped(items: Sequence[Any]) -> st.SearchStrategy[Any]:
    """Items as a list, or as an object: one alone, or by numbers."""
    numbered = [{str(9 + place): item for place, item in enumerate(items)}]
    if len(items) > 1:
        numbered.append({"10": items[1], "9": items[0]})
    return st.sampled_from([items, items, *numbered, *([items[0], {"0": items[0]}] if len(items) == 1 else [])])


@st.composite
def kiriminaja_instant_life(draw: st.DrawFn) -> list[Webhook]:
    """A ride by the older method's statuses, its ends sometimes told by the newer methods."""
    words = ["no_driver"] * draw(st.integers(0, 2)) + ["picked_up"]
    words += ["no_driver", "picked_up"] * draw(st.integers(0, 1))
    words += draw(
        st.sampled_from(
            [
                ["sent", "delivered"],
                ["sent", "return", "returned"],
                ["cancel"],
                ["shipped_packages", "sent", "finished_packages"],
                ["shipped_packages", "canceled_packages"],
                ["sent", "problem_packages", "delivered"],
                ["sent", "problem_packages", "picked_up", "sent", "return", "delivered"],
                ["shipped_packages", "problem_packages", "returned_packages"],
                ["sent", "delivered", "returned"],
                ["cancel", "sent", "delivered"],
                [],
            ]
        )
    )
    if draw(st.booleans()):
        words.insert(0, "processed_packages")
    at, webhooks = START, []
    for word in words:
        at += MINUTE
        kind = draw(st.sampled_from(["instant", "same_day", "SameDay"]))
        package = {"order_id": "X", "service_type": kind, "driver": {"name": "Agus"}}
        if word.endswith("_packages"):
            item = kiriminaja_item(word, at, "X", complete=True, going_back=False)
            body: dict[str, Any] = {"method": word, "data": [item], "packages": [package]}
        else:
            item = {
                "order_id": "X",
                "awb": "GK-1",
                "status": word,
                "driver": {"name": draw(st.sampled_from(["Agus", "Budi"])), "phone": "0811"},
                "shipping_price": 34000,
                "live_track_url": "http://gjk.io/abcd",
                "service": "gosend",
                "service_name": "instant",
                "event_date": zulu(at),
                "cancel_reason": "batal" if word == "cancel" else None,
            }
            body = {"method": "update_instant_packages", "data": item}
        webhooks.append(Webhook("kiriminaja", encoded(body), at + MINUTE / 60))
    return webhooks


@st.composite
def kiriminaja_webhook(draw: st.DrawFn, methods: Sequence[str], statuses: Sequence[str]) -> Webhook:
    """Any body of one item: any method or status, times and details, in any shape."""
    item: dict[str, Any] = {"order_id": draw(spellings("X"))}
    for name in ("date", *METHOD_TIMES.values(), "event_date"):
        if draw(st.booleans()):
            item[name] = draw(written_times)
    item |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "awb": st.sampled_from(["Y", "Y2", " Y ", "", "\u2003", None, 5]),
                "reason": odd_texts,
                "cancel_reason": odd_texts,
                "service": st.sampled_from(["jne", "gosend", None]),
                "driver": st.sampled_from([None, {"name": "Agus"}, "Budi"]),
                "shipping_price": odd_numbers,
                "live_track_url": odd_texts,
            },
        )
    )
    word = draw(st.sampled_from([*methods, *statuses]))
    instant = word in statuses
    method = "update_instant_packages" if instant else word
    if instant:
        item["status"] = word
    body: dict[str, Any] = {"method": draw(st.sampled_from([method, method, method.removesuffix("s")]))}
    if draw(st.integers(0, 3)) == 0:
        body["packages"] = [draw(_package(instant=bool(statuses)))]
        if draw(st.integers(0, 2)) == 0 and body["packages"][0].get("order_id"):
            item["order_id"] = draw(st.sampled_from([None, "", " "]))
    body["data"] = draw(shaped([item]))
    return draw(_arrived("kiriminaja", body))


@st.composite
def _package(draw: st.DrawFn, *, instant: bool) -> dict[str, Any]:
    """The package of the one item, in any spelling."""
    kinds = ["instant", "Same_Day", "sameday", "REG"] if instant else ["REG", "express", "same day", None, 5]
    package: dict[str, Any] = {
        "service_type": draw(st.sampled_from(kinds)),
        "awb": draw(st.sampled_from(["P", "y", "Y", None])),
    }
    return package | draw(st.sampled_from([{"order_id": "X"}, {"order_id": " X"}, {"order_id": None}, {}]))


# --- Pulled histories -----------------------------------------------------------------------------------------------

CODES_OF = {
    "CREATED": [105, 100],
    "PENDING_PICKUP": [101, 102, 110],
    "IN_TRANSIT": [100, 103, 104, 106],
    "PENDING_DELIVERY": [152],
    "FAILED": [500, 301, 310, 311],
    "DELIVERED": [200],
    "RETURNING": [401, 403, 404],
    "RETURNED": [402, 400],
    "CANCELLED": [300],
    "LOST": [701],
    "DAMAGED": [702],
    "SEIZED": [555],
    "CLAIM_SETTLED": [703, 704],
    "DISPOSED": [333],
}
PULL_CODES = [code for codes in CODES_OF.values() for code in codes]
SILENT_CODES = [107, 210, 211, 302, 350, 405, 406, 901, 902, 903, 904, 905]
METHODS_OF = {
    "PENDING_PICKUP": ["processed_packages"],
    "IN_TRANSIT": ["shipped_packages"],
    "FAILED": ["problem_packages"],
    "DELIVERED": ["finished_packages"],
    "RETURNING": ["returned_packages"],
    "RETURNED": ["returned_packages", "return_finished_packages"],
    "CANCELLED": ["canceled_packages", "rejected_packages"],
}
"""What KiriminAja pushes. For the other statuses it has no word: only asking brings them to light."""

EDGES = {status: [after for before, after in KIRIMINAJA_EXPRESS if before == status] for status in CODES_OF}
SCANS_OF_THE_WAY_BACK = [100, 152, 500, 106, 301]


def history_entry(code: Any, created_at: Any, **more: Any) -> dict[str, Any]:
    return {
        "created_at": created_at,
        "status": f"scan {code}",
        "status_code": code,
        "driver": "",
        "receiver": "",
        **more,
    }


def tracking_answer(histories: Sequence[Any], received_at: datetime, reference: str = "X", **details: Any) -> Webhook:
    """An answer as the document shows it, from the entries oldest first."""
    known: dict[str, Any] = {"order_id": reference, "awb": None, "status_code": None, "shipped_at": "", **details}
    newest = histories[-1] if histories else {}
    body = {
        "status": True,
        "text": newest.get("status", ""),
        "method": "shTracking",
        "status_code": newest.get("status_code"),
        "details": known,
        "histories": [*reversed(histories)],
    }
    return Webhook("kiriminaja", encoded(body), received_at, Source.PULL, asked=reference)


@dataclass(frozen=True)
class Parcel:
    """What really became of a parcel, all that its courier pushes, and what it answers when asked ever later."""

    truth: str
    webhooks: list[Webhook]
    answers: list[Webhook]


@st.composite
def deliveries(draw: st.DrawFn, service: str) -> Parcel:
    """A Dash delivery that always tells its times. Get Delivery answers with the newest state.

    No EXPRESS one is cancelled, or goes out again after a failure, once a driver has had the parcel. That needs a
    reassignment first, and where its webhook is lost the table refuses what follows, pushed or pulled: CANCELLED is
    never reached by a jump, and a final status never left by one.
    """
    words = draw((express_words() if service == "express" else logistic_words()).filter(_seen_through))
    at, pickup = START, None
    webhooks: list[Webhook] = []
    bodies: list[dict[str, Any]] = []
    for word, count in words:
        at += draw(st.sampled_from([MINUTE, 60 * MINUTE]))
        if word == "PENDING_DELIVERY":
            pickup = zulu(at)
        more: dict[str, Any] = {"updatedAt": zulu(at), "pickupAt": pickup}
        if service == "express" and word not in {"QUEUEING", "ALLOCATING", "CANCELLED", "EXPIRED"}:
            more["trackingURL"] = "https://t/1"
        bodies.append(dash_body(word, count, at, **more))
        webhooks.append(Webhook("dash", encoded(bodies[-1]), at + draw(st.sampled_from([MINUTE / 60, 60 * MINUTE]))))
    places = sorted(draw(st.sets(st.integers(0, len(bodies) - 1), max_size=2)) | {len(bodies) - 1})
    answers = [
        Webhook("dash", encoded(bodies[place] | draw(_grown)), webhooks[place].received_at, Source.PULL, asked="DE-1")
        for place in places
    ]
    word = words[-1][0]
    truth = {
        "COMPLETED": "DELIVERED",
        "PENDING_RETURN": "RETURNING",
        "IN_RETURN": "RETURNING",
        "EXPIRED": "CANCELLED",
        "PENDING_PICKING_UP": "PENDING_PICKUP",
    }.get(word, word)
    return Parcel({"QUEUEING": "CREATED", "PREPARING": "CREATED"}.get(truth, truth), webhooks, answers)


def _seen_through(words: Words) -> bool:
    """Whether any webhook of it may be lost."""
    said = [word for word, _ in words]
    express = "ALLOCATING" in said
    cancelled_on_the_road = said[-1] in {"CANCELLED", "EXPIRED"} and "PENDING_DELIVERY" in said
    taken_up_again = "FAILED" in said and "PENDING_PICKUP" in said[said.index("FAILED") :]
    return not (express and (cancelled_on_the_road or taken_up_again))


_grown: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [{}, {"weight": 25}, {"courier": {"name": "Cici", "phone": "0812"}}]
)


@st.composite
def parcels(draw: st.DrawFn, *, told: bool = False) -> Parcel:
    """A walk along the table, each step in a minute of its own. `told`: only steps that webhooks have words for."""
    status, at, shipped_at = "CREATED", START, ""
    steps: list[tuple[str, datetime]] = []
    histories: list[dict[str, Any]] = []
    webhooks: list[Webhook] = []
    grown: list[tuple[list[dict[str, Any]], str]] = []
    complete, rounded = draw(st.booleans()), draw(st.booleans())
    for _ in range(draw(st.integers(1, 9))):
        at = at.replace(second=0) + draw(st.sampled_from([1, 5, 60, 60 * 24])) * MINUTE
        at += timedelta(seconds=draw(st.integers(0, 59)))
        after = [status, status, *(name for name in EDGES[status] if not told or name in METHODS_OF)]
        following = draw(st.sampled_from(after)) if steps else "CREATED"
        codes = SCANS_OF_THE_WAY_BACK if following == status == "RETURNING" else CODES_OF[following]
        code = draw(st.sampled_from(codes))
        if following != status or not steps:
            webhooks += draw(_pushed(following, at, complete=complete))
            if following == "IN_TRANSIT" and not shipped_at:
                shipped_at = naive(at)
        status = following
        steps.append((status, at))
        receiver = "BAGUS" if status == "DELIVERED" else ""
        histories.append(history_entry(code, naive(at.replace(second=0) if rounded else at), receiver=receiver))
        grown.append(([*histories], shipped_at))
        if not EDGES[status]:
            break
    asked_after = sorted(draw(st.sets(st.integers(0, len(grown) - 1), max_size=2)) | {len(grown) - 1})
    answers = [
        tracking_answer(
            grown[place][0],
            steps[place][1] + 5 * MINUTE,
            awb=f"Y{place}" if place else None,
            shipped_at=grown[place][1],
            costs={"shipping_cost": 1000 + place},
            images={"camera_img": f"https://s/{place}"},
        )
        for place in asked_after
    ]
    return Parcel(status, webhooks, answers)


@st.composite
def _pushed(draw: st.DrawFn, status: str, at: datetime, *, complete: bool) -> list[Webhook]:
    if status not in METHODS_OF:
        return []
    method = draw(st.sampled_from(METHODS_OF[status]))
    item = kiriminaja_item(method, at, "X", complete=complete, going_back=status == "RETURNING")
    timed = has_time(method, complete=complete, going_back=status == "RETURNING")
    # Where it says no time and comes late, nothing tells how late.
    delay = draw(st.sampled_from([MINUTE / 60, 3 * MINUTE, 60 * MINUTE])) if timed else timedelta()
    return [Webhook("kiriminaja", encoded({"method": method, "data": [item]}), at + delay)]


@st.composite
def pulled_set(draw: st.DrawFn) -> list[Webhook]:
    """Answers with any codes at few times. Of one time received there is one set of details: it is one answer."""
    webhooks = []
    for _ in range(draw(st.integers(1, 5))):
        variant = draw(st.integers(0, 5))
        entries = draw(
            st.lists(
                st.builds(
                    history_entry,
                    st.sampled_from([*PULL_CODES, *PULL_CODES, *[100] * 8, *SILENT_CODES, 303, "200", "500", None]),
                    st.one_of(few_moments.map(naive), few_moments.map(naive), written_times),
                    status=odd_texts,
                    receiver=st.sampled_from(["", "BAGUS"]),
                ),
                min_size=1,
                max_size=4,
            )
        )
        answers: list[dict[str, Any]] = [
            {},
            {"shipped_at": naive(START), "service": "jne", "costs": {"shipping_cost": 9000}},
            {"shipped_at": naive(START), "awb": "Y", "images": {"camera_img": "https://s/1"}},
            {"awb": "Y2", "service": "sicepat", "costs": {"cod": 5}, "images": {"pop_img": "https://s/2"}},
            {"shipped_at": naive(START + 2 * MINUTE + timedelta(seconds=40)), "order_id": " X "},
            {"shipped_at": draw(zero_dates)},
        ]
        received_at = draw(received_times) + timedelta(seconds=variant)
        webhooks.append(tracking_answer(entries, received_at, **answers[variant]))
    return webhooks


@st.composite
def pulled_life(draw: st.DrawFn) -> list[Webhook]:
    """A parcel's webhooks and the answers about it, each where it falls."""
    parcel = draw(parcels())
    return sorted([*parcel.webhooks, *parcel.answers], key=lambda webhook: webhook.received_at)


# --- Ties -----------------------------------------------------------------------------------------------------------


@st.composite
def tied_webhook(draw: st.DrawFn, courier: str) -> Webhook:
    """Nothing but the last tie-breakers tells these apart."""
    name = draw(st.sampled_from(["Agus", "Budi", "Cici"]))
    if courier == "dash":
        word = draw(st.sampled_from(["COMPLETED", "COMPLETED", "IN_DELIVERY"]))
        updated = draw(st.one_of(st.none(), few_moments.map(zulu), st.just("2031-01-01T00:00:00Z")))
        body = dash_body(word, 0, START, updatedAt=updated, pickupAt=zulu(START), courier={"name": name})
    else:
        item = {"order_id": "X", "shipped_at": naive(START), "driver": {"name": name}}
        body = {"method": "shipped_packages", "data": [item]}
    source = draw(st.sampled_from([Source.PUSH, Source.PULL]))
    received_at = START + draw(st.integers(0, 1)) * MINUTE
    return Webhook(courier, encoded(body), received_at, source, draw(st.integers(1, 3)))


@st.composite
def proven_late(draw: st.DrawFn) -> list[Webhook]:
    """A Dash delivery taken as LOGISTIC until its last webhook proves EXPRESS: the order is computed anew."""
    minutes = [*draw(st.lists(st.integers(0, 6), min_size=1, max_size=5, unique=True)), draw(st.integers(5, 7))]
    webhooks = []
    for place, minute in enumerate(minutes, start=1):
        at = START + minute * MINUTE
        word = draw(st.sampled_from(["PENDING_DELIVERY", "IN_DELIVERY", "IN_DELIVERY", "FAILED", "COMPLETED"]))
        body = dash_body(word, draw(st.sampled_from([0, 0, 0, 1])), at)
        if place == len(minutes):
            body["trackingURL"] = "https://t/1"
        webhooks.append(Webhook("dash", encoded(body), at))
    return webhooks


# --- On the way -----------------------------------------------------------------------------------------------------


@st.composite
def _arrived(draw: st.DrawFn, courier: str, body: dict[str, Any]) -> Webhook:
    source = draw(st.sampled_from([Source.PUSH, Source.PUSH, Source.PUSH, Source.PULL]))
    item = draw(st.sampled_from([None, None, None, 1, 2, 3]))
    mark = draw(st.sampled_from([b"", b"", b"", BYTE_ORDER_MARK]))
    return Webhook(courier, mark + encoded(body), draw(received_times), source, item)


@st.composite
def repeated(draw: st.DrawFn, webhooks: Sequence[Webhook]) -> list[Webhook]:
    """Some of them again, received earlier or later, pulled or pushed, written with other white space."""
    again = []
    for webhook in draw(st.lists(st.sampled_from(webhooks), max_size=3)) if webhooks else []:
        shift = draw(st.sampled_from([0, 1, -1, 60 * 24 * 2, -60 * 24 * 2])) * MINUTE
        source = draw(st.sampled_from([webhook.source, Source.PULL, Source.PUSH]))
        body = webhook.body + draw(st.sampled_from([b"", b" \n"]))
        again.append(replace(webhook, body=body, received_at=webhook.received_at + shift, source=source))
    return [*webhooks, *again]


@st.composite
def travelled(draw: st.DrawFn, life: st.SearchStrategy[list[Webhook]]) -> list[Webhook]:
    """A life as it arrives: something lost, something twice, something late."""
    webhooks = draw(life)
    lost = draw(st.sets(st.integers(0, len(webhooks) - 1), max_size=2))
    webhooks = [webhook for place, webhook in enumerate(webhooks) if place not in lost]
    webhooks = draw(repeated(webhooks))
    for _ in range(draw(st.integers(0, 3)) if webhooks else 0):
        late = webhooks.pop(draw(st.integers(0, len(webhooks) - 1)))
        webhooks.insert(draw(st.integers(0, len(webhooks))), late)
    return webhooks


LIVES: dict[str, st.SearchStrategy[list[Webhook]]] = {
    "dash express": travelled(dash_life("express")),
    "dash logistic": travelled(dash_life("logistic")),
    "kiriminaja express": travelled(kiriminaja_express_life()),
    "kiriminaja instant": travelled(kiriminaja_instant_life()),
    "kiriminaja pulled": travelled(pulled_life()),
}
"""Realistic arrivals, by courier and service."""


def _set_of(webhook: st.SearchStrategy[Webhook]) -> st.SearchStrategy[list[Webhook]]:
    return st.lists(webhook, min_size=1, max_size=8).flatmap(repeated)


ARBITRARY: dict[str, st.SearchStrategy[list[Webhook]]] = {
    "dash express": _set_of(dash_webhook([*DASH_KNOWN, *DASH_DETAILS_ONLY, "TELEPORTED"])),
    "dash logistic": _set_of(dash_webhook([*DASH_LOGISTIC, *DASH_DETAILS_ONLY, "failed"], marks=False)),
    "kiriminaja express": _set_of(
        kiriminaja_webhook([*KIRIMINAJA_METHODS, "validated_packages", "teleported_packages"], [])
    ),
    "kiriminaja instant": _set_of(
        kiriminaja_webhook([*KIRIMINAJA_METHODS, "validated_packages"], [*KIRIMINAJA_STATUSES, "flown"])
    ),
    "kiriminaja pulled": pulled_set().flatmap(repeated),
    "dash hinted": _set_of(dash_webhook([*DASH_BOTH, "ON_HOLD"], marks=False)),
    "dash proven late": proven_late(),
    "dash tied": _set_of(tied_webhook("dash")),
    "kiriminaja tied": _set_of(tied_webhook("kiriminaja")),
}
"""Any webhooks of one shipment, by courier and (mostly) service."""

WEBHOOKS: dict[str, st.SearchStrategy[list[Webhook]]] = {
    **{f"{name} life": strategy for name, strategy in LIVES.items()},
    **{f"{name} set": strategy for name, strategy in ARBITRARY.items()},
}
