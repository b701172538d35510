"""Plans of replays: each takes as long as reading its records does, so it is made beside the pages, one at a time."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import msgspec

from console.looks import Look, Seen
from operators.replay.jobs import Asked, Mode
from operators.replay.preview import ReplayPlan
from operators.replay.progress import Progress, Tell
from operators.replay.range import Selection
from operators.replay.replays import Prospect, look
from operators.replay.republish import RepublishCounts
from runtime.postgres import Pool
from runtime.settings import Settings

MOST: Final = 8
"""Plans that are kept, the newest: what some operators look at together."""

KEPT: Final = timedelta(minutes=30)
"""How long a plan may be agreed to. Then it is made anew, as of then."""

LIMIT: Final = timedelta(minutes=30)
"""How long a plan may take: millions of records."""

PATIENCE_SECONDS: Final = 3.0
"""How long a page waits for a plan; then it says how far the plan is."""

SHOWN: Final = 20
"""Events, anomalies and changes that a page lists, as `waybill replay plan` does."""


class Planned(msgspec.Struct, frozen=True):
    """What a replay would do: in words, and what a job would be asked for."""

    words: tuple[str, ...]
    asked: Asked
    mode: Mode


Ask = Callable[[Mode, Selection, Tell], Awaitable[Prospect]]


class Plans:
    """Makes plans, and keeps them for whoever asks for the same again."""

    def __init__(self, settings: Settings, pool: Callable[[], Pool], ask: Ask | None = None) -> None:
        """Plan what is stored behind a pool. `ask` makes a plan, if not `look`."""
        self._settings = settings
        self._pool = pool
        self._ask = ask or self._look
        self._one = asyncio.Lock()
        self._made: dict[msgspec.Struct, tuple[Look[Planned], list[Progress]]] = {}

    async def plan(
        self, query: msgspec.Struct, mode: Mode, selection: Selection
    ) -> tuple[Seen[Planned], Progress | None]:
        """Return the plan of what is asked, or how far it is. It is made once for everybody who asks the same."""
        if query not in self._made:
            while len(self._made) >= MOST:
                await self._made.pop(next(iter(self._made)))[0].close()
            told: list[Progress] = []
            self._made[query] = (Look(lambda: self._plan(mode, selection, told), KEPT, LIMIT), told)
        made, told = self._made[query]
        return await made.latest(PATIENCE_SECONDS), told[-1] if told else None

    async def forget(self, query: msgspec.Struct) -> None:
        """Forget a plan: it is done, or another one is wanted."""
        if query in self._made:
            await self._made.pop(query)[0].close()

    async def close(self) -> None:
        """Give up those under way."""
        for query in list(self._made):
            await self.forget(query)

    async def _plan(self, mode: Mode, selection: Selection, told: list[Progress]) -> Planned:
        def tell(progress: Progress) -> None:
            told[:] = [progress]

        async with self._one:
            prospect = await self._ask(mode, selection, tell)
        return Planned(in_words(prospect), prospect.asked, mode)

    async def _look(self, mode: Mode, selection: Selection, tell: Tell) -> Prospect:
        return await look(self._settings, self._pool(), mode, selection, tell, planned=True)


def in_words(prospect: Prospect) -> tuple[str, ...]:
    """Say what a replay would do. No personal data is in it."""
    told = [f"{prospect.asked.offsets:,} offsets of {len(prospect.asked.stretches)} partitions are looked through"]
    gone = sum(stretch.gone for stretch in prospect.asked.stretches)
    if gone:
        told.append(f"{gone:,} offsets before them are there no more: retention took them")
    if prospect.waiting:
        told.append(f"{prospect.waiting:,} records the processor has yet to read: it reads them with today's code")
    match prospect.plan:
        case ReplayPlan() as plan:
            told += _of_replay(plan)
        case RepublishCounts() as counts:
            told.append(f"{counts.records:,} stored events of {len(counts.shipments):,} shipments would be published")
        case None:
            pass
    return tuple(told)


def _of_replay(plan: ReplayPlan) -> list[str]:
    passed = f"{plan.rereadings:,} re-readings, {plan.decisions:,} decisions, {plan.unreadable:,} unreadable records"
    told = [
        f"{plan.records:,} records of {len(plan.shipments):,} shipments would be read again; passed over: {passed}",
        f"outcomes: {', '.join(f'{count:,} {outcome}' for outcome, count in plan.outcomes.items()) or 'none'}",
        f"{len(plan.changes):,} shipments would change, by {len(plan.events):,} events",
    ]
    told += [
        f"event {each.id}: {each.type}, {each.previous_status or 'no status'} → {each.status}, from {each.raw}"
        for each in plan.events[:SHOWN]
    ]
    told += [f"anomaly {each.kind} of {each.shipment_id}, from {each.raw}" for each in plan.anomalies[:SHOWN]]
    listed = max(0, len(plan.events) - SHOWN) + max(0, len(plan.anomalies) - SHOWN)
    if listed:
        told.append(f"and {listed:,} more: `waybill replay plan --json` lists all")
    return told
