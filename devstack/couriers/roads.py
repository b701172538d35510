"""What may follow what in a simulated parcel's life, and what it means: tables, from the couriers' documents alone."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

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
