"""What each courier's webhooks leave out: which never come, how late they are, how many shipments an answer healed."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from operators.shared.errors import OperatorError
from reconcile.drift import Report, report
from reconcile.errors import TooLongError
from reconcile.told import Lateness, StatusCount
from runtime.postgres import Pool
from schemas.times import format_time


class CourierDrift(msgspec.Struct, frozen=True):
    """One courier: `statuses` are those it was seen in, those most often told by no webhook first."""

    courier: str
    statuses: tuple[StatusCount, ...]
    lateness: Lateness | None
    healed: int

    @property
    def never_come(self) -> tuple[StatusCount, ...]:
        """The statuses that no webhook has told of any shipment seen in them."""
        return tuple(each for each in self.statuses if each.only_by_pull == each.shipments)


class Drift(msgspec.Struct, frozen=True):
    """What was recorded from `since` up to `until`, by courier."""

    since: str
    until: str
    couriers: tuple[CourierDrift, ...]


async def drift(pool: Pool, couriers: Sequence[str], since: datetime, until: datetime) -> Drift:
    """Return the drift of couriers in a range.

    Raises:
        OperatorError: the range takes too long to be read.

    """
    try:
        return by_courier(await report(pool, since, until), couriers)
    except TooLongError as error:
        raise OperatorError(str(error)) from error


def by_courier(found: Report, couriers: Sequence[str]) -> Drift:
    """Return a report courier by courier."""
    late = {each.courier: each for each in found.lateness}
    healed = {each.courier: each.shipments for each in found.healed}
    told = {
        courier: sorted(
            (each for each in found.statuses if each.courier == courier),
            key=lambda each: (-each.only_by_pull / each.shipments, each.status),
        )
        for courier in couriers
    }
    return Drift(
        format_time(found.since),
        format_time(found.until),
        tuple(
            CourierDrift(courier, tuple(told[courier]), late.get(courier), healed.get(courier, 0))
            for courier in couriers
        ),
    )
