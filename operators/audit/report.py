"""What is audited, how far an audit is, and what it came to. Pure."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from operators.audit.facts import Difference

LISTED: Final = 1_000
"""Differences that are listed. Further ones are counted."""


class Scope(msgspec.Struct, frozen=True):
    """What is audited: one shipment, as an operator names it; else one partition; else everything."""

    shipment: str | None = None
    partition: int | None = None
    from_raw: bool = False


COMPARING: Final = "comparing shipments"
"""What is being done while shipments are compared."""


class Reached(msgspec.Struct, frozen=True):
    """How far an audit is with a partition: of what it is doing there, `done` of `total` is done. None: with all."""

    partition: int | None
    doing: str
    done: int
    total: int


Tell = Callable[[Reached], None]
"""Takes how far an audit is."""


class Report(msgspec.Struct, frozen=True):
    """What an audit came to. `found` differences, of which the first `LISTED` stand in `differences`.

    `records` counts raw records that the sums were checked for. `unchecked` shipments reach back before the raw topic's
    first record, are retired, or hold records that name another shipment today: `--from-raw` cannot check them.
    `derived` events were derived in a recovery, which stores none. `unread` offsets were gone from the log before they
    could be applied. `outdated` shipments were read by an older edition of the couriers' words and come out otherwise
    today: `corrections` tell how, the first `LISTED` of them. That is not damage: a replay corrects it.
    """

    differences: Sequence[Difference]
    found: int
    partitions: int
    shipments: int
    records: int
    from_raw: int
    unchecked: int
    derived: int
    unread: int
    outdated: int
    corrections: Sequence[Difference]
