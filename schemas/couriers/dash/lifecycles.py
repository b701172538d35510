"""Dash's transition tables: what may follow what, one table for each service.

Each line reads "from: to, to, ...". The order of a line settles which of two equally short jumps is taken. The same
status again is always legal. `docs/state-machines.md` is drawn from these tables.

Source: dash-webhooks.txt "Payload by status".
"""

from typing import Final

from schemas.lifecycle import Lifecycle
from schemas.vocabulary import Service, Status

_S = Status

EXPRESS: Final = Lifecycle(
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

LOGISTIC: Final = Lifecycle(
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
