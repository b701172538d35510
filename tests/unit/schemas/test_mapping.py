"""Every row of the domain's mapping of couriers' words to canonical statuses and phases."""

from typing import Any

import pytest

from schemas.couriers import COURIERS
from schemas.vocabulary import PHASES, Status
from tests.unit.schemas.reading import dash, entry, instant, kiriminaja, pulled, read, tracking

PHASE = {
    "CREATED": "pre_transit",
    "ALLOCATING": "pre_transit",
    "NO_DRIVER": "exception",
    "VERIFIED": "pre_transit",
    "NOT_VERIFIED": "exception",
    "PENDING_PICKUP": "pre_transit",
    "PICKING_UP": "pre_transit",
    "PENDING_DELIVERY": "in_transit",
    "IN_TRANSIT": "in_transit",
    "IN_DELIVERY": "in_transit",
    "FAILED": "exception",
    "DELIVERED": "delivered",
    "RETURNING": "returning",
    "RETURNED": "returned",
    "CANCELLED": "cancelled",
    "LOST": "exception",
    "DAMAGED": "exception",
    "SEIZED": "closed",
    "CLAIM_SETTLED": "closed",
}

DASH = [
    ("QUEUEING", "CREATED"),
    ("PREPARING", "CREATED"),
    ("ALLOCATING", "ALLOCATING"),
    ("VERIFIED", "VERIFIED"),
    ("NOT_VERIFIED", "NOT_VERIFIED"),
    ("PENDING_PICKUP", "PENDING_PICKUP"),
    ("PICKING_UP", "PICKING_UP"),
    ("PENDING_DELIVERY", "PENDING_DELIVERY"),
    ("IN_DELIVERY", "IN_DELIVERY"),
    ("FAILED", "FAILED"),
    ("COMPLETED", "DELIVERED"),
    ("IN_RETURN", "RETURNING"),
    ("PENDING_RETURN", "RETURNING"),
    ("RETURNED", "RETURNED"),
    ("CANCELLED", "CANCELLED"),
]

RETURNED_AT = "2025-05-30T10:00:00.000000Z"
KIRIMINAJA_EXPRESS: list[tuple[str, dict[str, Any], str]] = [
    ("processed_packages", {}, "PENDING_PICKUP"),
    ("shipped_packages", {}, "IN_TRANSIT"),
    ("problem_packages", {}, "FAILED"),
    ("finished_packages", {}, "DELIVERED"),
    ("returned_packages", {}, "RETURNING"),
    ("returned_packages", {"returned_at": None}, "RETURNING"),
    ("returned_packages", {"returned_at": ""}, "RETURNING"),
    ("returned_packages", {"returned_at": RETURNED_AT}, "RETURNED"),
    ("returned_packages", {"returned_at": "2025-05-30 10:00:00"}, "RETURNED"),
    ("return_finished_packages", {}, "RETURNED"),
    ("return_finished_packages", {"returned_at": RETURNED_AT}, "RETURNED"),
    ("canceled_packages", {}, "CANCELLED"),
    ("rejected_packages", {}, "CANCELLED"),
]

KIRIMINAJA_INSTANT = [
    ("no_driver", "NO_DRIVER"),
    ("picked_up", "PENDING_DELIVERY"),
    ("sent", "IN_DELIVERY"),
    ("delivered", "DELIVERED"),
    ("return", "RETURNING"),
    ("returned", "RETURNED"),
    ("cancel", "CANCELLED"),
]

KIRIMINAJA_INSTANT_NEWER = [
    ("shipped_packages", "IN_TRANSIT"),
    ("finished_packages", "DELIVERED"),
    ("canceled_packages", "CANCELLED"),
]

KIRIMINAJA_PULL: list[tuple[Any, dict[str, Any], str]] = [
    (100, {"shipped_at": ""}, "CREATED"),
    (100, {"shipped_at": None}, "CREATED"),
    (100, {}, "IN_TRANSIT"),
    (101, {}, "PENDING_PICKUP"),
    (105, {}, "CREATED"),
    (152, {}, "PENDING_DELIVERY"),
    (200, {}, "DELIVERED"),
    (300, {}, "CANCELLED"),
    (400, {}, "RETURNED"),
    (401, {}, "RETURNING"),
    (402, {}, "RETURNED"),
    (500, {}, "FAILED"),
    (555, {}, "SEIZED"),
    (701, {}, "LOST"),
    (702, {}, "DAMAGED"),
    (703, {}, "CLAIM_SETTLED"),
    (704, {}, "CLAIM_SETTLED"),
]

NEWER_CODES = [
    *(102, 103, 104, 106, 107, 110, 210, 211, 301, 302, 303, 310, 311, 333, 350, 403, 404, 405, 406),
    *(901, 902, 903, 904, 905),
]

DETAILS_ONLY = [
    ("kiriminaja", kiriminaja("validated_packages", shipping_cost=9000)),
    *(("dash", dash(word)) for word in ("PENDING_PAYMENT", "ON_HOLD", "FAILED_IN_RETURN", "DISPOSED")),
]

UNKNOWN = [
    ("dash", dash("TELEPORTED"), "TELEPORTED"),
    ("dash", dash("completed"), "completed"),
    ("dash", dash(" COMPLETED"), " COMPLETED"),
    ("kiriminaja", kiriminaja("teleported_packages"), "teleported_packages"),
    ("kiriminaja", kiriminaja("delivered"), "delivered"),
    ("kiriminaja", instant("SENT"), "SENT"),
    ("kiriminaja", instant("shipped_packages"), "shipped_packages"),
]


def complete(method: str, service_type: str) -> Any:
    package = {"order_id": "X", "awb": "A1", "service": "gosend", "service_type": service_type, "status": 100}
    return {**kiriminaja(method), "packages": [package]}


def test_every_status_has_its_phase() -> None:
    assert {str(status): str(PHASES[status]) for status in Status} == PHASE


@pytest.mark.parametrize(("word", "status"), DASH)
def test_dash(word: str, status: str) -> None:
    observation = read("dash", dash(word))
    assert (observation.word, observation.status, observation.known) == (word, status, True)


@pytest.mark.parametrize(("method", "item", "status"), KIRIMINAJA_EXPRESS)
def test_kiriminaja_express(method: str, item: dict[str, Any], status: str) -> None:
    observation = read("kiriminaja", kiriminaja(method, **item))
    assert (observation.word, observation.status, observation.known) == (method, status, True)
    assert observation.proves == ()


@pytest.mark.parametrize(("word", "status"), KIRIMINAJA_INSTANT)
def test_kiriminaja_instant(word: str, status: str) -> None:
    observation = read("kiriminaja", instant(word))
    assert (observation.word, observation.status, observation.known) == (word, status, True)
    assert observation.proves == ("instant",)


@pytest.mark.parametrize(("method", "status"), KIRIMINAJA_INSTANT_NEWER)
def test_kiriminaja_instant_newer_methods(method: str, status: str) -> None:
    observation = read("kiriminaja", complete(method, "instant"))
    assert (observation.word, observation.status, observation.proves) == (method, status, ("instant",))
    express = read("kiriminaja", complete(method, "regular"))
    assert (express.word, express.status, express.proves) == (method, status, ())


@pytest.mark.parametrize(("code", "details", "status"), KIRIMINAJA_PULL)
def test_kiriminaja_pull(code: int, details: dict[str, Any], status: str) -> None:
    for spelled in (code, str(code), float(code)):
        (observation,) = pulled(tracking(entry(spelled), details=details))
        assert (observation.word, observation.status, observation.known) == (str(code), status, True)
        assert observation.proves == ()
        assert observation.jumps_through == {703: "LOST", 704: "DAMAGED"}.get(code)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        *((code, str(code)) for code in NEWER_CODES),
        (0, "0"), (-1, "-1"), (100.5, "100.5"), (10**30, str(10**30)), ("", '""'), ("DELIVERED", "DELIVERED"),
        ("0200", "0200"), (None, "null"), (True, "true"), ([200], "[200]"), ({}, "{}"),
    ],
)  # fmt: skip
def test_an_unknown_code_is_kept_and_breaks_nothing(code: Any, word: str) -> None:
    before, odd, after = pulled(tracking(entry(500), entry(code), entry(101)))
    assert (odd.word, odd.status, odd.known, odd.reference) == (word, None, False, "X")
    assert (before.status, after.status) == ("PENDING_PICKUP", "FAILED")


@pytest.mark.parametrize(("courier", "body"), DETAILS_ONLY)
def test_known_words_without_a_status(courier: str, body: Any) -> None:
    observation = read(courier, body)
    assert (observation.status, observation.known) == (None, True)


@pytest.mark.parametrize(("courier", "body", "word"), UNKNOWN)
def test_unknown_words(courier: str, body: Any, word: str) -> None:
    observation = read(courier, body)
    assert (observation.word, observation.status, observation.known, observation.proves) == (word, None, False, ())


@pytest.mark.parametrize(
    ("word", "marks", "proves"),
    [
        ("QUEUEING", {}, ("express",)),
        ("ALLOCATING", {}, ("express",)),
        ("PENDING_PICKUP", {}, ("express",)),
        ("PICKING_UP", {}, ("express",)),
        ("CANCELLED", {}, ("express",)),
        ("PREPARING", {}, ("logistic",)),
        ("VERIFIED", {}, ("logistic",)),
        ("NOT_VERIFIED", {}, ("logistic",)),
        ("PENDING_DELIVERY", {}, ()),
        ("IN_DELIVERY", {}, ()),
        ("COMPLETED", {}, ()),
        ("FAILED", {}, ()),
        ("IN_RETURN", {}, ()),
        ("IN_DELIVERY", {"trackingURL": "https://t.example/1"}, ("express",)),
        ("IN_DELIVERY", {"trackingURL": ""}, ()),
        ("IN_DELIVERY", {"trackingURL": None}, ()),
        ("COMPLETED", {"media": [{"type": "PICKUP_PROOF", "url": "https://p.example/1"}]}, ("express",)),
        ("COMPLETED", {"media": [{"type": "PICKUP_PROOF"}]}, ("express",)),
        ("COMPLETED", {"media": [{"type": "DELIVERY_PROOF", "url": "https://p.example/1"}]}, ()),
        ("ON_HOLD", {"trackingURL": "https://t.example/1"}, ("express",)),
        ("VERIFIED", {"trackingURL": "https://t.example/1"}, ("express", "logistic")),
        ("TELEPORTED", {"trackingURL": "https://t.example/1"}, ()),
    ],
)
def test_what_a_dash_body_proves(word: str, marks: dict[str, Any], proves: tuple[str, ...]) -> None:
    assert read("dash", dash(word, **marks)).proves == proves


@pytest.mark.parametrize(
    ("courier", "proven", "service"),
    [
        ("dash", (), "logistic"),
        ("dash", ("logistic",), "logistic"),
        ("dash", ("express",), "express"),
        ("dash", ("express", "logistic"), "express"),
        ("kiriminaja", (), "express"),
        ("kiriminaja", ("instant",), "instant"),
    ],
)
def test_service_from_all_that_is_proven(courier: str, proven: tuple[Any, ...], service: str) -> None:
    assert COURIERS[courier].service(frozenset(proven)) == service


def test_the_tables_that_are_drawn_are_complete() -> None:
    shown = {courier: {w for words in COURIERS[courier].words.values() for w in words} for courier in COURIERS}
    details_only = {"PENDING_PAYMENT", "ON_HOLD", "FAILED_IN_RETURN", "DISPOSED"}
    assert shown["dash"] == {word for word, _ in DASH} | details_only
    assert shown["kiriminaja"] == {
        *(method for method, _, _ in KIRIMINAJA_EXPRESS),
        *(word for word, _ in KIRIMINAJA_INSTANT),
        "returned_packages, returned_at empty",
        "validated_packages",
        *(str(code) for code, _, _ in KIRIMINAJA_PULL),
        "100, details.shipped_at empty",
    }
