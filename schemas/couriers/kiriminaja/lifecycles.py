"""KiriminAja's transition tables: what may follow what, one table for each service.

Each line reads "from: to, to, ...". The order of a line settles which of two equally short jumps is taken. The same
status again is always legal. `docs/state-machines.md` is drawn from these tables.

Sources: kiriminaja-webhooks.md "Event (Express)", "Instant Delivery"; kiriminaja-tracking.txt "histories.status".
"""

from typing import Final

from schemas.lifecycle import Lifecycle
from schemas.vocabulary import Service, Status

_S = Status

_REOPENED: Final[dict[Status, tuple[Status, ...]]] = {
    _S.DELIVERED: (_S.RETURNED,),  # the delivery scan was false
    # The cancel came while the parcel was on the road, or the order was booked again.
    _S.CANCELLED: (_S.DELIVERED, _S.RETURNED),
}


def _express() -> dict[Status, tuple[Status, ...]]:
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
    } | _REOPENED


EXPRESS: Final = Lifecycle(
    "kiriminaja",
    Service.EXPRESS,
    _express(),
    scans_while_returning=True,
    counts_entries=True,
)

INSTANT: Final = Lifecycle(
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
        **_REOPENED,
    },
    scans_while_returning=True,
    counts_entries=True,
)
