"""What operators ask for: shipments that a courier is asked about now, due or not, and what came of it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import structlog

from reconcile.api import lacking
from reconcile.asking import AskingContext, CourierLoop, together
from reconcile.errors import NotNowError
from schemas.couriers import COURIERS

LOOK_SECONDS: Final = 1.0
"""How often it is looked for requests: whoever asks waits for it."""

KEPT: Final = timedelta(days=30)
"""How long answered requests are kept. Who asked, and why, stays in `operator_log`."""

MOVED: Final = "moved"
"""An event came before the courier was asked: there was nothing to ask any more."""

NOT_ASKED: Final = "not_asked"
"""The service does not ask this courier."""

log = structlog.get_logger(__name__)


async def attend(lanes: Sequence[CourierLoop], tools: AskingContext) -> None:
    """Answer requests until a stop, those of each courier one after the other, all couriers side by side."""
    await together(
        *(_again_and_again(partial(answer, lane, tools), tools) for lane in lanes),
        _again_and_again(partial(_answer_others, lanes, tools), tools),
    )


async def _again_and_again(work: Callable[[], Awaitable[None]], tools: AskingContext) -> None:
    while not tools.stop.is_set():
        await work()
        with suppress(TimeoutError):
            await asyncio.wait_for(tools.stop.wait(), LOOK_SECONDS)


async def answer_once(lanes: Sequence[CourierLoop], tools: AskingContext) -> None:
    """Answer the requests that wait now. Those of couriers that are not asked go on waiting."""
    await together(*(answer(lane, tools) for lane in lanes))


async def answer(lane: CourierLoop, tools: AskingContext) -> None:
    """Answer the requests of one courier that wait. What a stop, or a courier that is away, leaves goes on waiting."""
    for request in await tools.store.requests(lane.courier):
        due = await tools.store.one(request.shipment_id)
        assert due is not None, "no row of a shipment is ever deleted"
        await tools.ledger.take_request(request.request, datetime.now(UTC))
        try:
            asked = await lane.ask(due)
        except NotNowError:
            return
        said, appended, why = (MOVED, 0, None) if asked is None else (asked.said.value, asked.appended, asked.why)
        await tools.ledger.end_request(request.request, said, appended, why, datetime.now(UTC))
        log.info("request answered", shipment_id=request.shipment_id, courier=lane.courier, outcome=said)


async def _answer_others(lanes: Sequence[CourierLoop], tools: AskingContext) -> None:
    """Answer the requests of couriers that are not asked, and forget old ones."""
    now = datetime.now(UTC)
    for courier in COURIERS.keys() - {lane.courier for lane in lanes}:
        missing = lacking(tools.settings, courier)
        why = f"{' and '.join(missing)} not set there" if missing else "it was started without this courier"
        for request in await tools.store.requests(courier):
            await tools.ledger.end_request(request.request, NOT_ASKED, 0, why, now)
    await tools.ledger.forget_requests(now - KEPT)
