"""Every body of the couriers' documents, and the observation it stands for."""

from collections.abc import Sequence

import pytest

from schemas.couriers import COURIERS
from schemas.couriers.base import Piece
from schemas.observation import Carrier, Charges, Details, Driver, Proof
from schemas.times import format_time
from tests.unit.schemas.examples import SAMPLES
from tests.unit.schemas.reading import NOW, occurred, read, service

ASKED_FOR = {"kiriminaja/tracking/delivered.json": "OID-8793949106"}
"""The answers to a pull, and what was asked for."""

AGUS = Driver("Agus Wijayanto", "087777777777")
DASH_DRIVER = Driver("Dash Driver", "0811111111")
PAGE = "https://www.tracking.dummy.com"
PRICE = Charges("IDR", 21000)
CREATED_AT = ("2024-12-27T14:18:17.128000Z", "courier")
HAPPENED_AT = ("2024-12-27T14:18:58.750000Z", "courier")
STAGED_AT = ("2025-05-22T11:34:22.000000Z", "courier")
MIDNIGHT = ("2022-05-04T17:00:00.000000Z", "assumed_zone")  # in Jakarta
RETURN_MIDNIGHT = ("2021-03-30T17:00:00.000000Z", "assumed_zone")

PARCEL = "kiriminaja:OID-8793949106"


def scanned(code: str, status: str, at: str) -> tuple[str, str, str, tuple[str, str], int, tuple[str, ...], str]:
    return PARCEL, code, status, (f"{at}.000000Z", "assumed_zone"), 0, (), "express"


DE_1 = "dash:DE-1735308506306"
DE_2 = "dash:DE-1747913656208"

# sample: shipment, word, status, (occurred_at, source), failure count, what it proves, service by itself
SAID: dict[str, list[tuple[str, str, str, tuple[str, str], int, tuple[str, ...], str]]] = {
    "dash/express/queueing.json": [(DE_1, "QUEUEING", "CREATED", CREATED_AT, 0, (), "express")],
    "dash/express/allocating.json": [(DE_1, "ALLOCATING", "ALLOCATING", CREATED_AT, 0, ("express",), "express")],
    "dash/express/pending_pickup.json": [
        (DE_1, "PENDING_PICKUP", "PENDING_PICKUP", HAPPENED_AT, 0, ("express",), "express")
    ],
    "dash/express/picking_up.json": [(DE_1, "PICKING_UP", "PICKING_UP", HAPPENED_AT, 0, ("express",), "express")],
    "dash/express/pending_delivery.json": [
        (DE_2, "PENDING_DELIVERY", "PENDING_DELIVERY", STAGED_AT, 0, ("express",), "express")
    ],
    "dash/express/in_delivery.json": [(DE_1, "IN_DELIVERY", "IN_DELIVERY", HAPPENED_AT, 0, ("express",), "express")],
    "dash/express/completed.json": [(DE_1, "COMPLETED", "DELIVERED", HAPPENED_AT, 0, ("express",), "express")],
    "dash/express/failed.json": [(DE_1, "FAILED", "FAILED", HAPPENED_AT, 1, ("express",), "express")],
    "dash/express/cancelled.json": [(DE_1, "CANCELLED", "CANCELLED", HAPPENED_AT, 0, (), "express")],
    "dash/logistic/preparing.json": [(DE_1, "PREPARING", "CREATED", CREATED_AT, 0, ("logistic",), "logistic")],
    "dash/logistic/verified.json": [(DE_1, "VERIFIED", "VERIFIED", HAPPENED_AT, 0, ("logistic",), "logistic")],
    "dash/logistic/not_verified.json": [
        (DE_1, "NOT_VERIFIED", "NOT_VERIFIED", HAPPENED_AT, 0, ("logistic",), "logistic")
    ],
    "dash/logistic/pending_delivery.json": [
        (DE_1, "PENDING_DELIVERY", "PENDING_DELIVERY", STAGED_AT, 0, (), "logistic")
    ],
    "dash/logistic/in_delivery.json": [(DE_1, "IN_DELIVERY", "IN_DELIVERY", HAPPENED_AT, 0, (), "logistic")],
    "dash/logistic/completed.json": [(DE_1, "COMPLETED", "DELIVERED", HAPPENED_AT, 0, (), "logistic")],
    "dash/logistic/failed.json": [(DE_1, "FAILED", "FAILED", HAPPENED_AT, 1, (), "logistic")],
    "kiriminaja/express/processed_packages.json": [
        ("kiriminaja:X", "processed_packages", "PENDING_PICKUP", (NOW, "received"), 0, (), "express")
    ],
    "kiriminaja/express/shipped_packages.json": [
        ("kiriminaja:X", "shipped_packages", "IN_TRANSIT", MIDNIGHT, 0, (), "express")
    ],
    "kiriminaja/express/canceled_packages.json": [
        ("kiriminaja:X", "canceled_packages", "CANCELLED", MIDNIGHT, 0, (), "express")
    ],
    "kiriminaja/express/finished_packages.json": [
        ("kiriminaja:X", "finished_packages", "DELIVERED", MIDNIGHT, 0, (), "express")
    ],
    "kiriminaja/express/returned_packages.json": [
        ("kiriminaja:X", "returned_packages", "RETURNED", MIDNIGHT, 0, (), "express")
    ],
    "kiriminaja/express/return_finished_packages.json": [
        ("kiriminaja:OID-40592020", "return_finished_packages", "RETURNED", RETURN_MIDNIGHT, 0, (), "express"),
        ("kiriminaja:OID-40592021", "return_finished_packages", "RETURNED", RETURN_MIDNIGHT, 0, (), "express"),
    ],
    "kiriminaja/instant/update_instant_packages.json": [
        (
            "kiriminaja:NBL2-1704870212382",
            "cancel",
            "CANCELLED",
            ("2024-01-10T08:21:28.301662Z", "courier"),
            0,
            ("instant",),
            "instant",
        )
    ],
    "kiriminaja/tracking/delivered.json": [
        scanned("100", "CREATED", "2021-07-07T07:40:42"),
        scanned("100", "IN_TRANSIT", "2021-07-13T10:44:00"),
        scanned("100", "IN_TRANSIT", "2021-07-13T11:34:00"),
        scanned("100", "IN_TRANSIT", "2021-07-13T13:44:00"),
        scanned("100", "IN_TRANSIT", "2021-07-13T17:02:00"),
        scanned("100", "IN_TRANSIT", "2021-07-14T02:53:00"),
        scanned("200", "DELIVERED", "2021-07-14T09:00:00"),
    ],
}


def image(name: str, number: str) -> tuple[str, str, None]:
    return name, f"https://s3-ap-southeast-1.amazonaws.com/pod.paket.id/{number}||1411922100004643.jpeg", None


def proof(kind: str) -> tuple[str, str, str]:
    return kind, f"https://storage.googleapis.com/.../{kind}", "2024-12-27T14:07:49.300000Z"


# sample: details of the newest observation (the pictures apart), pictures
DETAILS: dict[str, tuple[Details, Sequence[tuple[str, str, str | None]]]] = {
    "dash/express/queueing.json": (Details(order_id="AWB-TEST-1", charges=PRICE), []),
    "dash/express/allocating.json": (Details(order_id="AWB-TEST-1", charges=PRICE), []),
    "dash/express/pending_pickup.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS, tracking_url=PAGE),
        [],
    ),
    "dash/express/picking_up.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS, tracking_url=PAGE),
        [],
    ),
    "dash/express/pending_delivery.json": (
        Details(order_id="DAILY_EXPRESS-OOOO1", charges=PRICE, driver=DASH_DRIVER, tracking_url=PAGE),
        [proof("PICKUP_PROOF")],
    ),
    "dash/express/in_delivery.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS, tracking_url=PAGE),
        [proof("PICKUP_PROOF")],
    ),
    "dash/express/completed.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS, signed_by="John Doe"),
        [proof("PICKUP_PROOF"), proof("DELIVERY_PROOF")],
    ),
    "dash/express/failed.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS, reason="Alamat tidak ditemukan"),
        [proof("PICKUP_PROOF"), proof("FAILED_PROOF")],
    ),
    "dash/express/cancelled.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS, reason="Barang tidak jadi dikirim"),
        [],
    ),
    "dash/logistic/preparing.json": (Details(order_id="AWB-TEST-1", charges=PRICE), []),
    "dash/logistic/verified.json": (Details(order_id="AWB-TEST-1", charges=PRICE), []),
    "dash/logistic/not_verified.json": (Details(order_id="AWB-TEST-1", charges=PRICE), []),
    "dash/logistic/pending_delivery.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=DASH_DRIVER),
        [],
    ),
    "dash/logistic/in_delivery.json": (Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS), []),
    "dash/logistic/completed.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS, signed_by="John Doe"),
        [proof("DELIVERY_PROOF")],
    ),
    "dash/logistic/failed.json": (
        Details(order_id="AWB-TEST-1", charges=PRICE, driver=AGUS, reason="Alamat tidak ditemukan"),
        [proof("FAILED_PROOF")],
    ),
    "kiriminaja/express/processed_packages.json": (Details(order_id="X", awb="Y"), []),
    "kiriminaja/express/shipped_packages.json": (Details(order_id="X"), []),
    "kiriminaja/express/canceled_packages.json": (Details(order_id="X", reason="3pl rejection"), []),
    "kiriminaja/express/finished_packages.json": (Details(order_id="X"), []),
    "kiriminaja/express/returned_packages.json": (Details(order_id="X"), []),
    "kiriminaja/express/return_finished_packages.json": (Details(order_id="OID-40592021"), []),
    "kiriminaja/instant/update_instant_packages.json": (
        Details(
            order_id="NBL2-1704870212382",
            awb="GK-11-3114100",
            carrier=Carrier("gosend", "instant"),
            charges=Charges("IDR", 34000),
            driver=Driver("string", "string"),
            tracking_url="http://gjk.io/abcd",
        ),
        [],
    ),
    "kiriminaja/tracking/delivered.json": (
        Details(
            order_id="OID-8793949106",
            awb="DEVEL-000000004",
            carrier=Carrier("jne", "REG"),
            charges=Charges("IDR", 10000, 0, 0),
            signed_by="BAGUS",
            description="Delivered to BAGUS | 14-07-2021 16:00 | YOGYAKARTA ",
        ),
        [image("camera_img", "1626253243482P"), image("signature_img", "1626253255242S")],
    ),
}


def seen(proofs: tuple[Proof, ...]) -> list[tuple[str | None, str, str | None]]:
    return [(one.type, one.url, format_time(one.occurred_at) if one.occurred_at else None) for one in proofs]


def pieces_of(sample: str) -> list[Piece]:
    courier, body = COURIERS[sample.partition("/")[0]], (SAMPLES / sample).read_bytes()
    pieces = courier.pulled(body, ASKED_FOR[sample]) if sample in ASKED_FOR else courier.split(body)
    assert isinstance(pieces, list)
    return pieces


def test_every_sample_is_in_the_table() -> None:
    found = {path.relative_to(SAMPLES).as_posix() for path in SAMPLES.rglob("*.json")}
    assert found == set(SAID)
    assert set(DETAILS) == set(SAID)


def test_every_courier_has_samples() -> None:
    assert {path.name for path in SAMPLES.iterdir()} == set(COURIERS)


@pytest.mark.parametrize("sample", SAID)
def test_sample_gives_the_documented_observations(sample: str) -> None:
    courier = sample.partition("/")[0]
    pieces = pieces_of(sample)
    observations = [read(courier, piece.value) for piece in pieces]
    assert [
        (one.shipment_id, one.word, one.status, occurred(one), one.count, one.proves, service(one))
        for one in observations
    ] == SAID[sample]
    assert [piece.reference for piece in pieces] == [one.reference for one in observations]
    assert all(one.known for one in observations)


@pytest.mark.parametrize("sample", DETAILS)
def test_sample_gives_the_documented_details(sample: str) -> None:
    courier = sample.partition("/")[0]
    observation = read(courier, pieces_of(sample)[-1].value)
    details, pictures = DETAILS[sample]
    assert seen(observation.details.proofs) == pictures
    assert {**_fields(observation.details), "proofs": ()} == _fields(details)


def _fields(details: Details) -> dict[str, object]:
    return {name: getattr(details, name) for name in Details.__struct_fields__}
