"""What came of raw records over the last hours, and how fast: counted where they are few, else by a sample."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from math import ceil
from typing import Final

import msgspec

from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.stored_observation import readable
from schemas.times import format_time
from schemas.vocabulary import Outcome, Source, Status

LOOK_BACK: Final = timedelta(hours=6)
"""How far back is looked: most of a shift, so that what began this morning is seen."""

BIN: Final = timedelta(minutes=5)
"""What stands side by side: 72 of them, each some pixels wide."""

MOST_SAMPLED: Final = 4_000
"""Records that are looked at: more than 50 for each bin. A tenth of a second, however many there are."""

MOST_LETTERS: Final = 10_000
"""Dead letters that are counted."""

SECONDS: Final = 5.0
"""How long a statement may take; some hundredth of that when all is well."""

_Q: Final = load_queries("operators.views", "flow.sql")


class Seen(msgspec.Struct, frozen=True):
    """A record that was applied. `delay` is from received to recorded, in seconds; null of one that was read again."""

    recorded_at: datetime
    outcome: str
    status: Status | None
    delay: float | None


class FlowBin(msgspec.Struct, frozen=True):
    """Five minutes from `at`, the last ones up to now: records a minute by outcome, and how late they were.

    Half and 95 of 100 were recorded within so many seconds of being received. Both are null where none came.
    """

    at: str
    a_minute: dict[Outcome, float]
    delay_p50: float | None
    delay_p95: float | None


class StatusTold(msgspec.Struct, frozen=True):
    """How often a status was told by what became an event, bin by bin."""

    status: Status
    told: tuple[int, ...]


class Outcomes(msgspec.Struct, frozen=True):
    """How many records led to something: an outcome, or a dead letter's reason."""

    name: str
    records: int


class Flow(msgspec.Struct, frozen=True):
    """What came of the raw records applied from `since` up to `until`.

    Each that was looked at stands for `pace` records: 1 is an exact count. Dead letters are counted: `more_letters`
    says that only the newest were.
    """

    since: str
    until: str
    pace: int
    bins: tuple[FlowBin, ...]
    statuses: tuple[StatusTold, ...]
    outcomes: tuple[Outcomes, ...]
    dead_letters: tuple[Outcomes, ...]
    more_letters: bool


async def flow(pool: Pool, now: datetime) -> Flow:
    """Return the flow of the hours before now."""
    since, until = began(now), now
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["sampled_records"], since, until, MOST_SAMPLED, timeout=SECONDS)
        letters = await connection.fetch(_Q["dead_letters_by_reason"], since, until, MOST_LETTERS, timeout=SECONDS)
    seen = []
    for row in rows:
        said = readable(row["shipment_id"], row["reading"], row["said"])
        late = None
        if said is not None and not row["again"] and said.source is not Source.OPERATOR:
            late = max(0.0, (row["recorded_at"] - said.received_at).total_seconds())
        seen.append(Seen(row["recorded_at"], row["outcome"], None if said is None else said.status, late))
    found = [Outcomes(row["reason"], row["letters"]) for row in letters]
    return flow_of(seen, rows[0]["pace"] if rows else 1, found, since, until)


def began(now: datetime) -> datetime:
    """Return where the hours before now begin: their last five minutes, all but whole ones, take in this minute."""
    next_minute = (now + timedelta(minutes=1, microseconds=-1)).replace(second=0, microsecond=0)
    return next_minute - LOOK_BACK


def flow_of(seen: Sequence[Seen], pace: int, letters: Sequence[Outcomes], since: datetime, until: datetime) -> Flow:
    """Return the flow that records seen tell of, each standing for `pace`."""
    number = ceil((until - since) / BIN)
    binned: list[list[Seen]] = [[] for _ in range(number)]
    for each in seen:
        if since <= each.recorded_at < until:
            binned[(each.recorded_at - since) // BIN].append(each)
    outcomes = Counter(each.outcome for one in binned for each in one)
    told = {each.status for one in binned for each in one if each.outcome == Outcome.EVENT}
    return Flow(
        format_time(since),
        format_time(until),
        pace,
        tuple(_bin(since + place * BIN, until, one, pace) for place, one in enumerate(binned)),
        tuple(
            StatusTold(status, tuple(pace * _told(one, status) for one in binned))
            for status in Status
            if status in told
        ),
        tuple(Outcomes(str(each), pace * outcomes[each]) for each in Outcome if outcomes[each]),
        tuple(letters),
        sum(each.records for each in letters) >= MOST_LETTERS,
    )


def _bin(at: datetime, until: datetime, seen: Sequence[Seen], pace: int) -> FlowBin:
    counts = Counter(each.outcome for each in seen)
    minutes = min(BIN, until - at) / timedelta(minutes=1)
    late = sorted(each.delay for each in seen if each.delay is not None)
    a_minute = {each: round(counts[each] * pace / minutes, 2) for each in Outcome}
    return FlowBin(format_time(at), a_minute, _within(late, 0.5), _within(late, 0.95))


def _told(seen: Iterable[Seen], status: Status) -> int:
    return sum(1 for each in seen if each.outcome == Outcome.EVENT and each.status is status)


def _within(ordered: Sequence[float], share: float) -> float | None:
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3) if ordered else None
