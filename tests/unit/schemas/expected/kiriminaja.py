"""What KiriminAja's samples say, and what may follow what: written by hand from its documents."""

from schemas.observation import Carrier, Charges, Details, Driver
from tests.unit.schemas.expected.kinds import Pictures, Said
from tests.unit.schemas.reading import NOW

MIDNIGHT = ("2022-05-04T17:00:00.000000Z", "assumed_zone")  # in Jakarta
RETURN_MIDNIGHT = ("2021-03-30T17:00:00.000000Z", "assumed_zone")
PARCEL = "kiriminaja:OID-8793949106"


def scanned(code: str, status: str, at: str) -> tuple[str, str, str, tuple[str, str], int, tuple[str, ...], str]:
    return PARCEL, code, status, (f"{at}.000000Z", "assumed_zone"), 0, (), "express"


def image(name: str, number: str) -> tuple[str, str, None]:
    return name, f"https://s3-ap-southeast-1.amazonaws.com/pod.paket.id/{number}||1411922100004643.jpeg", None


ASKED_FOR = {"kiriminaja/tracking/delivered.json": "OID-8793949106"}

SAID: dict[str, list[Said]] = {
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

DETAILS: dict[str, tuple[Details, Pictures]] = {
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

AT_ONCE = {
    "kiriminaja express": """
        CREATED: PENDING_PICKUP CANCELLED LOST DAMAGED SEIZED DISPOSED
        PENDING_PICKUP: IN_TRANSIT CANCELLED LOST DAMAGED SEIZED DISPOSED
        IN_TRANSIT: DELIVERED FAILED RETURNING CANCELLED LOST DAMAGED SEIZED DISPOSED
        PENDING_DELIVERY: FAILED IN_TRANSIT DELIVERED RETURNING CANCELLED LOST DAMAGED SEIZED DISPOSED
        FAILED: PENDING_DELIVERY IN_TRANSIT DELIVERED RETURNING CANCELLED LOST DAMAGED SEIZED DISPOSED
        RETURNING: RETURNED DELIVERED CANCELLED LOST DAMAGED SEIZED DISPOSED
        LOST: IN_TRANSIT CLAIM_SETTLED CANCELLED DAMAGED SEIZED DISPOSED
        DAMAGED: IN_TRANSIT RETURNING CLAIM_SETTLED CANCELLED LOST SEIZED DISPOSED
        DELIVERED: RETURNED
        CANCELLED: DELIVERED RETURNED
    """,
    "kiriminaja instant": """
        PENDING_PICKUP: NO_DRIVER PENDING_DELIVERY CANCELLED
        NO_DRIVER: PENDING_DELIVERY CANCELLED
        PENDING_DELIVERY: NO_DRIVER IN_DELIVERY IN_TRANSIT FAILED RETURNING CANCELLED
        IN_DELIVERY: DELIVERED IN_TRANSIT FAILED RETURNING CANCELLED
        IN_TRANSIT: DELIVERED IN_DELIVERY FAILED RETURNING CANCELLED
        FAILED: PENDING_DELIVERY IN_DELIVERY IN_TRANSIT DELIVERED RETURNING CANCELLED
        RETURNING: RETURNED DELIVERED CANCELLED
        DELIVERED: RETURNED
        CANCELLED: DELIVERED RETURNED
    """,
}

FINAL = {
    "kiriminaja express": "DELIVERED RETURNED CANCELLED SEIZED CLAIM_SETTLED DISPOSED",
    "kiriminaja instant": "DELIVERED RETURNED CANCELLED",
}

REOPENED = {
    "kiriminaja express": "DELIVERED CANCELLED",
    "kiriminaja instant": "DELIVERED CANCELLED",
}

JUMPS = {
    "kiriminaja express": """
        CREATED > PENDING_PICKUP > IN_TRANSIT
        CREATED > PENDING_PICKUP IN_TRANSIT > DELIVERED
        PENDING_PICKUP > IN_TRANSIT > DELIVERED
        PENDING_PICKUP > IN_TRANSIT > FAILED
        PENDING_PICKUP > IN_TRANSIT > RETURNING
        PENDING_PICKUP > IN_TRANSIT RETURNING > RETURNED
        IN_TRANSIT > RETURNING > RETURNED
        IN_TRANSIT > FAILED > PENDING_DELIVERY
        CREATED > PENDING_PICKUP IN_TRANSIT FAILED > PENDING_DELIVERY
        FAILED > RETURNING > RETURNED
        LOST > IN_TRANSIT > DELIVERED
        LOST > IN_TRANSIT > RETURNING
        DAMAGED > RETURNING > RETURNED
        DAMAGED > IN_TRANSIT > DELIVERED
        PENDING_DELIVERY > RETURNING > RETURNED
        DAMAGED > IN_TRANSIT FAILED > PENDING_DELIVERY
    """,
    "kiriminaja instant": """
        PENDING_PICKUP > PENDING_DELIVERY > IN_DELIVERY
        PENDING_PICKUP > PENDING_DELIVERY > IN_TRANSIT
        PENDING_PICKUP > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        NO_DRIVER > PENDING_DELIVERY > IN_DELIVERY
        NO_DRIVER > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        NO_DRIVER > PENDING_DELIVERY > RETURNING
        PENDING_DELIVERY > RETURNING > RETURNED
        PENDING_PICKUP > PENDING_DELIVERY RETURNING > RETURNED
        PENDING_PICKUP > PENDING_DELIVERY > FAILED
        IN_DELIVERY > FAILED > PENDING_DELIVERY
        IN_TRANSIT > FAILED > PENDING_DELIVERY
        IN_DELIVERY > FAILED PENDING_DELIVERY > NO_DRIVER
    """,
}

ILLEGAL = {
    "kiriminaja express": """
        IN_TRANSIT > PENDING_PICKUP
        PENDING_PICKUP > CREATED
        DELIVERED > CANCELLED
        DELIVERED > RETURNING
        RETURNED > IN_TRANSIT
        RETURNED > DELIVERED
        CANCELLED > IN_TRANSIT
        CANCELLED > LOST
        CREATED > CLAIM_SETTLED
        IN_TRANSIT > CLAIM_SETTLED
        FAILED > CLAIM_SETTLED
        CLAIM_SETTLED > IN_TRANSIT
        SEIZED > IN_TRANSIT
        DISPOSED > RETURNED
        DELIVERED > DISPOSED
        RETURNING > PENDING_DELIVERY
    """,
    "kiriminaja instant": """
        PENDING_DELIVERY > PENDING_PICKUP
        RETURNING > FAILED
        DELIVERED > RETURNING
        CANCELLED > PENDING_DELIVERY
        RETURNED > DELIVERED
        PENDING_PICKUP > LOST
        PENDING_PICKUP > DISPOSED
    """,
}

OPTIONS = {
    "kiriminaja express": "scans_while_returning counts_entries",
    "kiriminaja instant": "scans_while_returning counts_entries",
}
