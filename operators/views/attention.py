"""What shipments and couriers may need somebody: who is silent, what has failed, when each courier last spoke."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import msgspec

from runtime.postgres import Connection
from runtime.queries import load_queries
from schemas.couriers import COURIERS
from schemas.observation import Observation
from schemas.stored_observation import readable
from schemas.times import format_time
from schemas.vocabulary import Source

MOST_COUNTED: Final = 10_000
"""Shipments that a count looks at: some tens of milliseconds. A count that reaches it stands for as many or more."""

NEWEST: Final = 2_000
"""Observations among which each courier's last webhook is looked for."""

_Q: Final = load_queries("operators.views")
_NEWEST_READINGS: Final = load_queries("operators.doctor")["newest_readings"]


class SilentCount(msgspec.Struct, frozen=True):
    """Shipments under way that have been silent for long, of one courier and status."""

    courier: str
    status: str
    shipments: int
    silent_since: str


class FailedCount(msgspec.Struct, frozen=True):
    """Shipments that are FAILED, of one courier: under way, or `final`."""

    courier: str
    final: bool
    shipments: int
    newest: str


class LastWebhook(msgspec.Struct, frozen=True):
    """When a courier's last webhook was received; null: none is among the newest observations."""

    courier: str
    received_at: str | None
    shipment_id: str | None


async def silent(connection: Connection, since: datetime) -> list[SilentCount]:
    """Count the shipments under way that have had no event since then, `MOST_COUNTED` at most."""
    rows = await connection.fetch(_Q["silent_by_status"], since, MOST_COUNTED)
    return [SilentCount(**{**row, "silent_since": format_time(row["silent_since"])}) for row in rows]


async def failed(connection: Connection, since: datetime) -> list[FailedCount]:
    """Count the shipments that are FAILED and under way, and those that have ended so since then."""
    rows = await connection.fetch(_Q["failed_by_courier"], since, list(COURIERS), MOST_COUNTED)
    return [FailedCount(**{**row, "newest": format_time(row["newest"])}) for row in rows]


async def last_webhooks(connection: Connection) -> list[LastWebhook]:
    """Return each courier's last webhook."""
    rows = await connection.fetch(_NEWEST_READINGS, NEWEST)
    said = [each for row in rows if (each := readable(*row)) is not None]
    return last_of_couriers(said)


def last_of_couriers(said: Iterable[Observation]) -> list[LastWebhook]:
    """Return the newest webhook of each courier among observations."""
    newest: dict[str, Observation] = {}
    for each in said:
        known = newest.get(each.courier)
        if each.source is Source.PUSH and (known is None or each.received_at > known.received_at):
            newest[each.courier] = each
    return [
        LastWebhook(courier, format_time(found.received_at), found.shipment_id)
        if (found := newest.get(courier))
        else LastWebhook(courier, None, None)
        for courier in COURIERS
    ]
