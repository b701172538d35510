"""The transition tables: what may follow what, one table for each service.

Each line reads "from: to, to, ...". The order of a line settles which of two equally short jumps is taken. The same
status again is always legal. `docs/state-machines.md` is drawn from these tables.

Sources: dash-webhooks.txt "Payload by status"; kiriminaja-webhooks.md "Event (Express)", "Instant Delivery";
kiriminaja-tracking.txt "histories.status".
"""

from typing import Final

from schemas.lifecycle import Lifecycle
from schemas.vocabulary import Service, Status

_S = Status

DASH_EXPRESS: Final = Lifecycle(
    "dash",
    Service.EXPRESS,
    {
        _S.CREATED: (_S.ALLOCATING, _S.CANCELLED),  # CANCELLED is ours: the document starts at ALLOCATING
        _S.ALLOCATING: (_S.PENDING_PICKUP, _S.CANCELLED),
        _S.PENDING_PICKUP: (_S.PICKING_UP, _S.CANCELLED),
        _S.PICKING_UP: (_S.PENDING_DELIVERY, _S.PENDING_PICKUP, _S.CANCELLED),
        _S.PENDING_DELIVERY: (_S.IN_DELIVERY, _S.PENDING_PICKUP),
        _S.IN_DELIVERY: (_S.DELIVERED, _S.FAILED, _S.PENDING_PICKUP),
        # Not in the document: the driver brings the parcel back. The words between may be lost.
        _S.FAILED: (_S.PENDING_PICKUP, _S.RETURNING, _S.RETURNED, _S.DISPOSED),
        _S.RETURNING: (_S.RETURNED, _S.DISPOSED),
    },
    also_final=frozenset({_S.FAILED}),
    reassignments=frozenset(
        {
            (_S.PICKING_UP, _S.PENDING_PICKUP),
            (_S.PENDING_DELIVERY, _S.PENDING_PICKUP),
            (_S.IN_DELIVERY, _S.PENDING_PICKUP),
            (_S.FAILED, _S.PENDING_PICKUP),
        }
    ),
)

DASH_LOGISTIC: Final = Lifecycle(
    "dash",
    Service.LOGISTIC,
    {
        _S.CREATED: (_S.VERIFIED, _S.NOT_VERIFIED, _S.CANCELLED),
        _S.NOT_VERIFIED: (_S.VERIFIED, _S.CANCELLED),
        _S.VERIFIED: (_S.PENDING_DELIVERY, _S.PENDING_PICKUP, _S.CANCELLED),
        _S.PENDING_PICKUP: (_S.PENDING_DELIVERY, _S.CANCELLED),
        _S.PENDING_DELIVERY: (_S.IN_DELIVERY, _S.CANCELLED),
        _S.IN_DELIVERY: (_S.DELIVERED, _S.FAILED),
        # PENDING_DELIVERY, PENDING_PICKUP: Dash Ops recovers it
        _S.FAILED: (_S.PENDING_DELIVERY, _S.PENDING_PICKUP, _S.RETURNING, _S.CANCELLED),
        _S.RETURNING: (_S.RETURNED, _S.DISPOSED),
    },
    count_moves=True,
)


_KIRIMINAJA_REOPENED: Final[dict[Status, tuple[Status, ...]]] = {
    _S.DELIVERED: (_S.RETURNED,),  # the delivery scan was false
    # The cancel came while the parcel was on the road, or the order was booked again.
    _S.CANCELLED: (_S.DELIVERED, _S.RETURNED),
}


def _kiriminaja_express() -> dict[Status, tuple[Status, ...]]:
    """Every status but a final one may also end in the five of `accidents`."""
    accidents = (_S.CANCELLED, _S.LOST, _S.DAMAGED, _S.SEIZED, _S.DISPOSED)
    table: dict[Status, tuple[Status, ...]] = {
        _S.CREATED: (_S.PENDING_PICKUP,),
        _S.PENDING_PICKUP: (_S.IN_TRANSIT,),
        _S.IN_TRANSIT: (_S.DELIVERED, _S.FAILED, _S.RETURNING),
        _S.PENDING_DELIVERY: (_S.FAILED, _S.IN_TRANSIT, _S.DELIVERED, _S.RETURNING),
        # 500 -> 152 is a recovery; push has no word for the new attempt, so the others follow at once too.
        _S.FAILED: (_S.PENDING_DELIVERY, _S.IN_TRANSIT, _S.DELIVERED, _S.RETURNING),
        _S.RETURNING: (_S.RETURNED, _S.DELIVERED),  # DELIVERED: the return was called off
        _S.LOST: (_S.IN_TRANSIT, _S.CLAIM_SETTLED),
        _S.DAMAGED: (_S.IN_TRANSIT, _S.RETURNING, _S.CLAIM_SETTLED),
    }
    return {
        status: (*after, *(accident for accident in accidents if accident is not status))
        for status, after in table.items()
    } | _KIRIMINAJA_REOPENED


KIRIMINAJA_EXPRESS: Final = Lifecycle(
    "kiriminaja",
    Service.EXPRESS,
    _kiriminaja_express(),
    scans_while_returning=True,
    counts_entries=True,
)

KIRIMINAJA_INSTANT: Final = Lifecycle(
    "kiriminaja",
    Service.INSTANT,
    {
        _S.PENDING_PICKUP: (_S.NO_DRIVER, _S.PENDING_DELIVERY, _S.CANCELLED),
        _S.NO_DRIVER: (_S.PENDING_DELIVERY, _S.CANCELLED),  # the merchant may ask for a new driver
        _S.PENDING_DELIVERY: (_S.NO_DRIVER, _S.IN_DELIVERY, _S.IN_TRANSIT, _S.FAILED, _S.RETURNING, _S.CANCELLED),
        _S.IN_DELIVERY: (_S.DELIVERED, _S.IN_TRANSIT, _S.FAILED, _S.RETURNING, _S.CANCELLED),
        _S.IN_TRANSIT: (_S.DELIVERED, _S.IN_DELIVERY, _S.FAILED, _S.RETURNING, _S.CANCELLED),
        _S.FAILED: (
            _S.PENDING_DELIVERY,
            _S.IN_DELIVERY,
            _S.IN_TRANSIT,
            _S.DELIVERED,
            _S.RETURNING,
            _S.CANCELLED,
        ),
        _S.RETURNING: (_S.RETURNED, _S.DELIVERED, _S.CANCELLED),
        **_KIRIMINAJA_REOPENED,
    },
    scans_while_returning=True,
    counts_entries=True,
)

LIFECYCLES: Final = (DASH_EXPRESS, DASH_LOGISTIC, KIRIMINAJA_EXPRESS, KIRIMINAJA_INSTANT)
