"""Whether couriers' times without a zone look as if they were written in another zone than the one assumed. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from heapq import nlargest
from statistics import median
from typing import Final

import msgspec

from schemas.couriers import COURIERS
from schemas.observation import Observation
from schemas.vocabulary import Source, TimeSource

NEWEST: Final = 500
"""Webhooks of a courier that are looked at: some minutes of a busy shop, some days of a small one."""

FEWEST: Final = 5
"""With fewer nothing is said: one parcel may well be told of hours late."""

NEAR: Final = timedelta(minutes=10)
"""How near a whole hour the middle must lie. Webhooks come within minutes, and scans are told in whole ones."""

FARTHEST: Final = 26
"""Hours between the zones farthest apart."""

HOUR: Final = timedelta(hours=1)

ZoneOf = Callable[[str, Source], tzinfo]


class Shifted(msgspec.Struct, frozen=True):
    """A courier whose webhooks seem to come `hours` after what they tell, early ones being negative.

    `setting` gives the zone of its times, and `offset` is what it would be if they were written in one without that.
    """

    courier: str
    setting: str
    hours: int
    webhooks: int
    offset: str


def shifted(observations: Iterable[Observation], zone_of: ZoneOf) -> Iterator[Shifted]:
    """Return the couriers whose times without a zone look like another zone's."""
    late = _lateness(observations)
    for courier, found in sorted(late.items()):
        newest = nlargest(NEWEST, found)
        middle = timedelta(seconds=median(each.total_seconds() for _, each in newest))
        hours = round(middle / HOUR)
        if len(newest) < FEWEST or not 0 < abs(hours) <= FARTHEST or abs(middle - hours * HOUR) > NEAR:
            continue
        setting, _ = COURIERS[courier].zone_settings[Source.PUSH]
        assumed = zone_of(courier, Source.PUSH).utcoffset(newest[0][0].replace(tzinfo=None)) or timedelta()
        yield Shifted(courier, setting, hours, len(newest), _offset(assumed - hours * HOUR))


def _lateness(observations: Iterable[Observation]) -> Mapping[str, Sequence[tuple[datetime, timedelta]]]:
    """Return by courier when webhooks were received, and how long after the time they tell without a zone."""
    found: dict[str, list[tuple[datetime, timedelta]]] = {}
    for each in observations:
        courier = COURIERS.get(each.courier)
        if courier is None or each.source is not Source.PUSH or Source.PUSH not in courier.zone_settings:
            continue
        occurred = courier.occurred(each, courier.service(frozenset(each.proves), frozenset(each.hints)))
        if occurred.source is TimeSource.ASSUMED_ZONE:
            found.setdefault(each.courier, []).append((each.received_at, each.received_at - occurred.at))
    return found


def _offset(offset: timedelta) -> str:
    sign, minutes = ("-" if offset < timedelta() else "+"), abs(offset) // timedelta(minutes=1)
    return f"UTC{sign}{minutes // 60:02d}:{minutes % 60:02d}"
