"""Every row of the domain's mapping of couriers' words to canonical statuses and phases."""

from typing import Any

import pytest

from schemas.couriers import COURIERS
from schemas.vocabulary import PHASES, Status
from tests.unit.schemas.reading import dash, entry, instant, kiriminaja, pulled, read, tracking

PHASE = {
    "DISPOSED": "closed",
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
    ("PENDING_PICKING_UP", "PENDING_PICKUP"),
    ("PICKING_UP", "PICKING_UP"),
    ("PENDING_DELIVERY", "PENDING_DELIVERY"),
    ("IN_DELIVERY", "IN_DELIVERY"),
    ("FAILED", "FAILED"),
    ("COMPLETED", "DELIVERED"),
    ("IN_RETURN", "RETURNING"),
    ("PENDING_RETURN", "RETURNING"),
    ("RETURNED", "RETURNED"),
    ("CANCELLED", "CANCELLED"),
    ("EXPIRED", "CANCELLED"),
    ("DISPOSED", "DISPOSED"),
]
DASH_DETAILS_ONLY = [
    *("PENDING_PAYMENT", "ON_HOLD", "FAILED_IN_RETURN", "RETURN_TO_HUB", "ARRIVED_AT_PICKUP_POINT"),
    *("ARRIVED_AT_DESTINATION", "ARRIVED_AT_RETURN_POINT", "ARRIVED_AT_HUB"),
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
    ("returned_packages", {"returned_at": "0000-00-00 00:00:00"}, "RETURNING"),
    ("returned_packages", {"returned_at": "-0001-11-30T00:00:00.000000Z"}, "RETURNING"),
    ("returned_packages", {"returned_at": "1970-01-01 00:00:00"}, "RETURNING"),
    ("returned_packages", {"returned_at": "1999-12-31T23:59:59Z"}, "RETURNING"),
    ("returned_packages", {"returned_at": "soon"}, "RETURNING"),
    ("returned_packages", {"returned_at": 1748599200}, "RETURNING"),
    ("returned_packages", {"returned_at": "2000-01-01T00:00:00Z"}, "RETURNED"),
    ("returned_packages", {"returned_at": "2099-01-01T00:00:00Z"}, "RETURNED"),
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
    (100, {"shipped_at": "0000-00-00 00:00:00"}, "CREATED"),
    (100, {"shipped_at": "1970-01-01 00:00:00"}, "CREATED"),
    (100, {"shipped_at": "soon"}, "CREATED"),
    (100, {"shipped_at": "2025-05-30 17:01:00"}, "CREATED"),  # the entry is of 17:00:00
    (100, {"shipped_at": "2025-05-30 17:00:59"}, "IN_TRANSIT"),
    (100, {}, "IN_TRANSIT"),
    (101, {}, "PENDING_PICKUP"),
    (102, {}, "PENDING_PICKUP"),
    (103, {}, "IN_TRANSIT"),
    (103, {"shipped_at": ""}, "IN_TRANSIT"),
    (104, {}, "IN_TRANSIT"),
    (105, {}, "CREATED"),
    (106, {}, "IN_TRANSIT"),
    (110, {}, "PENDING_PICKUP"),
    (152, {}, "PENDING_DELIVERY"),
    (200, {}, "DELIVERED"),
    (300, {}, "CANCELLED"),
    (301, {}, "FAILED"),
    (310, {}, "FAILED"),
    (311, {}, "FAILED"),
    (333, {}, "DISPOSED"),
    (400, {}, "RETURNED"),
    (401, {}, "RETURNING"),
    (402, {}, "RETURNED"),
    (403, {}, "RETURNING"),
    (404, {}, "RETURNING"),
    (500, {}, "FAILED"),
    (555, {}, "SEIZED"),
    (701, {}, "LOST"),
    (702, {}, "DAMAGED"),
    (703, {}, "CLAIM_SETTLED"),
    (704, {}, "CLAIM_SETTLED"),
]

SILENT_CODES = [107, 210, 211, 302, 350, 405, 406, 901, 902, 903, 904, 905]

DETAILS_ONLY = [
    ("kiriminaja", kiriminaja("validated_packages", shipping_cost=9000)),
    ("kiriminaja", kiriminaja("validated_package", shipping_cost=9000)),
    *(("dash", dash(word)) for word in DASH_DETAILS_ONLY),
]

UNKNOWN = [
    ("dash", dash("TELEPORTED"), "TELEPORTED"),
    ("dash", dash("completed"), "completed"),
    ("dash", dash(" COMPLETED"), " COMPLETED"),
    ("kiriminaja", kiriminaja("teleported_packages"), "teleported_packages"),
    ("kiriminaja", kiriminaja("teleported_package"), "teleported_packages"),
    ("kiriminaja", kiriminaja("shipped_packagess"), "shipped_packagess"),
    ("kiriminaja", kiriminaja("delivered"), "delivered"),
    ("kiriminaja", instant("SENT"), "SENT"),
    ("kiriminaja", instant("shipped_packages"), "shipped_packages"),
]


def complete(method: str, service_type: Any) -> Any:
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
    for called in (method, method.removesuffix("s")):
        observation = read("kiriminaja", kiriminaja(called, **item))
        assert (observation.word, observation.status, observation.known) == (method, status, True)
        assert observation.proves == ()


@pytest.mark.parametrize(("word", "status"), KIRIMINAJA_INSTANT)
def test_kiriminaja_instant(word: str, status: str) -> None:
    observation = read("kiriminaja", instant(word))
    assert (observation.word, observation.status, observation.known) == (word, status, True)
    assert observation.proves == ("instant",)


@pytest.mark.parametrize(("method", "status"), KIRIMINAJA_INSTANT_NEWER)
def test_kiriminaja_instant_newer_methods(method: str, status: str) -> None:
    for kind in ("instant", "INSTANT", "same_day", "Same_Day", "sameday", "SameDay"):
        observation = read("kiriminaja", complete(method, kind))
        assert (observation.word, observation.status, observation.proves) == (method, status, ("instant",))
    others: list[Any] = ["regular", "same day", "instantly", None, 5]
    for other in others:
        express = read("kiriminaja", complete(method, other))
        assert (express.word, express.status, express.proves) == (method, status, ())
    assert read("kiriminaja", kiriminaja(method, service_type="instant")).proves == ()


def test_the_instant_method_in_the_singular() -> None:
    observation = read("kiriminaja", {**instant("sent"), "method": "update_instant_package"})
    assert (observation.word, observation.status, observation.proves) == ("sent", "IN_DELIVERY", ("instant",))


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
        (303, "303"), (0, "0"), (-1, "-1"), (100.5, "100.5"), (10**30, str(10**30)), ("", '""'),
        ("DELIVERED", "DELIVERED"), ("0200", "0200"), (None, "null"), (True, "true"), ([200], "[200]"), ({}, "{}"),
    ],
)  # fmt: skip
def test_an_unknown_code_is_kept_and_breaks_nothing(code: Any, word: str) -> None:
    before, odd, after = pulled(tracking(entry(500), entry(code), entry(101)))
    assert (odd.word, odd.status, odd.known, odd.reference) == (word, None, False, "X")
    assert (before.status, after.status) == ("PENDING_PICKUP", "FAILED")


@pytest.mark.parametrize("code", SILENT_CODES)
def test_codes_that_say_nothing_about_the_state(code: int) -> None:
    for spelled in (code, str(code)):
        (observation,) = pulled(tracking(entry(spelled)))
        assert (observation.word, observation.status, observation.known) == (str(code), None, True)


def test_an_entry_without_a_time_lies_before_nothing() -> None:
    for created_at in (None, "", "0000-00-00 00:00:00"):
        (observation,) = pulled(tracking(entry(100, created_at), details={"shipped_at": "2025-05-30 17:00:00"}))
        assert observation.status == "IN_TRANSIT"


@pytest.mark.parametrize(("courier", "body"), DETAILS_ONLY)
def test_known_words_without_a_status(courier: str, body: Any) -> None:
    observation = read(courier, body)
    assert (observation.status, observation.known) == (None, True)


@pytest.mark.parametrize(("courier", "body", "word"), UNKNOWN)
def test_unknown_words(courier: str, body: Any, word: str) -> None:
    observation = read(courier, body)
    assert (observation.word, observation.status, observation.known, observation.proves) == (word, None, False, ())


@pytest.mark.parametrize(
    ("word", "marks", "proves", "hints"),
    [
        ("QUEUEING", {}, (), ("express",)),
        ("ALLOCATING", {}, ("express",), ()),
        ("PENDING_PICKUP", {}, (), ("express",)),
        ("PICKING_UP", {}, ("express",), ()),
        ("CANCELLED", {}, (), ("express",)),
        ("EXPIRED", {}, (), ("express",)),
        ("PREPARING", {}, ("logistic",), ()),
        ("VERIFIED", {}, ("logistic",), ()),
        ("NOT_VERIFIED", {}, ("logistic",), ()),
        ("PENDING_PICKING_UP", {}, ("logistic",), ()),
        ("PENDING_DELIVERY", {}, (), ("logistic",)),
        ("IN_DELIVERY", {}, (), ("logistic",)),
        ("COMPLETED", {}, (), ("logistic",)),
        ("FAILED", {}, (), ("logistic",)),
        ("IN_RETURN", {}, (), ()),
        ("DISPOSED", {}, (), ()),
        ("IN_DELIVERY", {"trackingURL": "https://t.example/1"}, ("express",), ()),
        ("IN_DELIVERY", {"trackingURL": ""}, (), ("logistic",)),
        ("IN_DELIVERY", {"trackingURL": None}, (), ("logistic",)),
        ("COMPLETED", {"media": [{"type": "PICKUP_PROOF", "url": "https://p.example/1"}]}, ("express",), ()),
        ("COMPLETED", {"media": [{"type": "PICKUP_PROOF"}]}, ("express",), ()),
        ("COMPLETED", {"media": [{"type": "DELIVERY_PROOF", "url": "https://p.example/1"}]}, (), ("logistic",)),
        ("QUEUEING", {"trackingURL": "https://t.example/1"}, ("express",), ("express",)),
        ("ON_HOLD", {"trackingURL": "https://t.example/1"}, ("express",), ()),
        ("ON_HOLD", {}, (), ()),
        ("VERIFIED", {"trackingURL": "https://t.example/1"}, ("express", "logistic"), ()),
        ("TELEPORTED", {"trackingURL": "https://t.example/1"}, (), ()),
    ],
)
def test_what_a_dash_body_proves_and_hints_at(
    word: str, marks: dict[str, Any], proves: tuple[str, ...], hints: tuple[str, ...]
) -> None:
    observation = read("dash", dash(word, **marks))
    assert (observation.proves, observation.hints) == (proves, hints)


@pytest.mark.parametrize(
    ("courier", "proven", "hinted", "service"),
    [
        ("dash", (), (), "logistic"),
        ("dash", ("logistic",), (), "logistic"),
        ("dash", ("express",), (), "express"),
        ("dash", ("express", "logistic"), (), "express"),
        ("dash", (), ("express",), "express"),
        ("dash", (), ("logistic",), "logistic"),
        ("dash", (), ("express", "logistic"), "logistic"),
        ("dash", ("logistic",), ("express",), "logistic"),
        ("dash", ("express",), ("logistic",), "express"),
        ("kiriminaja", (), (), "express"),
        ("kiriminaja", ("instant",), (), "instant"),
    ],
)
def test_service_from_all_that_is_proven_and_hinted_at(
    courier: str, proven: tuple[Any, ...], hinted: tuple[Any, ...], service: str
) -> None:
    assert COURIERS[courier].service(frozenset(proven), frozenset(hinted)) == service


def test_the_tables_that_are_drawn_are_complete() -> None:
    shown = {courier: {w for words in COURIERS[courier].words.values() for w in words} for courier in COURIERS}
    assert shown["dash"] == {word for word, _ in DASH} | set(DASH_DETAILS_ONLY)
    assert shown["kiriminaja"] == {
        *(method for method, _, _ in KIRIMINAJA_EXPRESS),
        *(word for word, _ in KIRIMINAJA_INSTANT),
        "returned_packages, returned_at empty",
        "validated_packages",
        *(str(code) for code, _, _ in KIRIMINAJA_PULL),
        *map(str, SILENT_CODES),
        "100, details.shipped_at empty or later",
    }
