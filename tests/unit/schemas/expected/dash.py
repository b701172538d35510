"""What Dash's samples say, and what may follow what: written by hand from its documents."""

from schemas.observation import Charges, Details, Driver
from tests.unit.schemas.expected.kinds import Pictures, Said

AGUS = Driver("Agus Wijayanto", "087777777777")
DASH_DRIVER = Driver("Dash Driver", "0811111111")
PAGE = "https://www.tracking.dummy.com"
PRICE = Charges("IDR", 21000)
CREATED_AT = ("2024-12-27T14:18:17.128000Z", "courier")
HAPPENED_AT = ("2024-12-27T14:18:58.750000Z", "courier")
STAGED_AT = ("2025-05-22T11:34:22.000000Z", "courier")
DE_1 = "dash:DE-1735308506306"
DE_2 = "dash:DE-1747913656208"


def proof(kind: str) -> tuple[str, str, str]:
    return kind, f"https://storage.googleapis.com/.../{kind}", "2024-12-27T14:07:49.300000Z"


ASKED_FOR: dict[str, str] = {}

SAID: dict[str, list[Said]] = {
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
}

DETAILS: dict[str, tuple[Details, Pictures]] = {
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
}

AT_ONCE = {
    "dash express": """
        CREATED: ALLOCATING CANCELLED
        ALLOCATING: PENDING_PICKUP CANCELLED
        PENDING_PICKUP: PICKING_UP CANCELLED
        PICKING_UP: PENDING_DELIVERY PENDING_PICKUP CANCELLED
        PENDING_DELIVERY: IN_DELIVERY PENDING_PICKUP
        IN_DELIVERY: DELIVERED FAILED PENDING_PICKUP
        FAILED: PENDING_PICKUP RETURNING RETURNED DISPOSED
        RETURNING: RETURNED DISPOSED
    """,
    "dash logistic": """
        CREATED: VERIFIED NOT_VERIFIED CANCELLED
        NOT_VERIFIED: VERIFIED CANCELLED
        VERIFIED: PENDING_DELIVERY PENDING_PICKUP CANCELLED
        PENDING_PICKUP: PENDING_DELIVERY CANCELLED
        PENDING_DELIVERY: IN_DELIVERY CANCELLED
        IN_DELIVERY: DELIVERED FAILED
        FAILED: PENDING_DELIVERY PENDING_PICKUP RETURNING CANCELLED
        RETURNING: RETURNED DISPOSED
    """,
}

FINAL = {
    "dash express": "DELIVERED FAILED RETURNED CANCELLED DISPOSED",
    "dash logistic": "DELIVERED RETURNED CANCELLED DISPOSED",
}

REOPENED = {
    "dash express": "FAILED",
    "dash logistic": "",
}

JUMPS = {
    "dash express": """
        CREATED > ALLOCATING > PENDING_PICKUP
        CREATED > ALLOCATING PENDING_PICKUP PICKING_UP PENDING_DELIVERY IN_DELIVERY > DELIVERED
        ALLOCATING > PENDING_PICKUP PICKING_UP PENDING_DELIVERY IN_DELIVERY > FAILED
        PENDING_PICKUP > PICKING_UP > PENDING_DELIVERY
        PICKING_UP > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        PENDING_DELIVERY > IN_DELIVERY > FAILED
        PENDING_DELIVERY > PENDING_PICKUP > PICKING_UP
        IN_DELIVERY > PENDING_PICKUP PICKING_UP > PENDING_DELIVERY
        IN_DELIVERY > FAILED > RETURNING
        IN_DELIVERY > FAILED > RETURNED
        PICKING_UP > PENDING_DELIVERY IN_DELIVERY FAILED > DISPOSED
    """,
    "dash logistic": """
        CREATED > VERIFIED > PENDING_DELIVERY
        CREATED > VERIFIED PENDING_DELIVERY IN_DELIVERY > FAILED
        NOT_VERIFIED > VERIFIED PENDING_DELIVERY > IN_DELIVERY
        VERIFIED > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        PENDING_DELIVERY > IN_DELIVERY FAILED > RETURNING
        VERIFIED > PENDING_DELIVERY IN_DELIVERY FAILED RETURNING > RETURNED
        FAILED > PENDING_DELIVERY > IN_DELIVERY
        FAILED > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        IN_DELIVERY > FAILED > PENDING_DELIVERY
        FAILED > RETURNING > RETURNED
        FAILED > RETURNING > DISPOSED
        CREATED > VERIFIED > PENDING_PICKUP
        IN_DELIVERY > FAILED > PENDING_PICKUP
        PENDING_PICKUP > PENDING_DELIVERY > IN_DELIVERY
    """,
}

ILLEGAL = {
    "dash express": """
        DELIVERED > CANCELLED
        DELIVERED > FAILED
        DELIVERED > RETURNING
        FAILED > PENDING_DELIVERY
        FAILED > PICKING_UP
        FAILED > DELIVERED
        FAILED > CANCELLED
        CANCELLED > PENDING_PICKUP
        PENDING_DELIVERY > CANCELLED
        IN_DELIVERY > CANCELLED
        PENDING_PICKUP > ALLOCATING
        PENDING_PICKUP > CREATED
        RETURNING > PENDING_PICKUP
        RETURNED > DISPOSED
        CREATED > VERIFIED
    """,
    "dash logistic": """
        VERIFIED > NOT_VERIFIED
        VERIFIED > CREATED
        DELIVERED > FAILED
        DELIVERED > PENDING_DELIVERY
        DELIVERED > RETURNED
        RETURNING > PENDING_DELIVERY
        RETURNED > RETURNING
        RETURNING > CANCELLED
        IN_DELIVERY > CANCELLED
        CANCELLED > PENDING_PICKUP
        DISPOSED > RETURNED
    """,
}

OPTIONS = {
    "dash express": "also_final reassignments",
    "dash logistic": "count_moves",
}
