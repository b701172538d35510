"""Several webhooks' records for one partition, sent together.

While a partition's records are under way, those that come meanwhile wait and then go at once: aiokafka has one request
under way to a broker anyway, and a send of many records takes little longer than a send of one.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain

import msgspec

from ingest.errors import UnavailableError
from schemas.records import NewRecord


class Share(msgspec.Struct, frozen=True):
    """One sender's records in a send. `began` is the loop's time at which it began to wait, for `seconds` at most."""

    records: Sequence[NewRecord]
    began: float
    seconds: float
    outcome: asyncio.Future[UnavailableError | None]


Send = Callable[[int, Sequence[NewRecord], float, float], Awaitable[UnavailableError | None]]
"""Appends a partition's records in order: partition, records, when they began to wait, for how many seconds they do.

What it raises is unforeseen."""


class Joining:
    """Has one send at a time under way to each partition."""

    def __init__(self, send: Send) -> None:
        """Send so."""
        self._send = send
        self._waiting: dict[int, list[Share]] = {}
        self._at_work: dict[int, asyncio.Task[None]] = {}

    def append(
        self, partition: int, records: Sequence[NewRecord], seconds: float
    ) -> asyncio.Future[UnavailableError | None]:
        """Append records behind those of their partition that are under way. The future says how it failed, if it did.

        It may fail before its own seconds are over: with those that it is sent together with, or that it waits behind.
        """
        loop = asyncio.get_running_loop()
        share = Share(records, loop.time(), seconds, loop.create_future())
        self._waiting.setdefault(partition, []).append(share)
        if partition not in self._at_work:
            self._at_work[partition] = asyncio.create_task(self._work(partition), name="send to a partition")
        return share.outcome

    async def _work(self, partition: int) -> None:
        """Send what waits for a partition until nothing does."""
        try:
            while shares := self._waiting.pop(partition, None):
                await self._send_together(partition, shares)
        finally:
            del self._at_work[partition]

    async def _send_together(self, partition: int, shares: list[Share]) -> None:
        first = shares[0]
        records = first.records if len(shares) == 1 else list(chain.from_iterable(each.records for each in shares))
        try:
            error = await self._send(partition, records, first.began, first.seconds)
        except Exception as unforeseen:  # noqa: BLE001 - it comes out where it is waited for
            for share in shares:
                if not share.outcome.done():
                    share.outcome.set_exception(unforeseen)
            return
        if error is not None:
            shares += self._waiting.pop(partition, ())
        for share, outcome in zip(shares, _outcomes(shares, error), strict=True):
            if not share.outcome.done():  # somebody waits for it
                share.outcome.set_result(outcome)


def _outcomes(shares: Sequence[Share], error: UnavailableError | None) -> list[UnavailableError | None]:
    """Say of each share how it failed; it did not where all of it is acknowledged."""
    if error is None:
        return [None] * len(shares)
    outcomes: list[UnavailableError | None] = []
    left = error.acknowledged
    for share in shares:
        acknowledged = min(left, len(share.records))
        left -= acknowledged
        outcomes.append(None if acknowledged == len(share.records) else type(error)(str(error), acknowledged))
    return outcomes
