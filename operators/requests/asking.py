"""Asking for a courier to be asked about a shipment, due or not: what is known before, and what came of it."""

import asyncio
from datetime import UTC, datetime
from time import monotonic
from typing import Final

import msgspec

from operators.decisions.known_shipment import KnownShipment, known_shipment
from operators.shared.errors import OperatorError
from operators.shared.operator_log import note
from reconcile.requests import MOVED, NOT_ASKED
from reconcile.store import is_asking
from runtime.metrics import AskResult
from runtime.postgres import Pool
from runtime.queries import load_queries
from schemas.couriers import COURIERS
from schemas.times import format_time

MOST_WAITING: Final = 1_000
"""Requests that may wait together: where nobody answers them, no more are taken."""

ANSWER_SECONDS: Final = 10.0
"""How long whoever asks waits for the answer: the service looks once a second, a courier answers within one."""

LOOK_SECONDS: Final = 0.25
"""How often it is looked whether the answer is there."""

SHOWN: Final = 5
"""Requests that are shown of a shipment, the newest."""

COMMAND: Final = "shipment ask"
"""As what `operator_log` names it."""

_Q: Final = load_queries("operators.requests")


class AskRequest(msgspec.Struct, frozen=True):
    """An operator's request. Without `taken_at` it waits, without `ended_at` the courier is being asked.

    `appended` counts raw records: what the courier told and was not known. `detail` says why there is no answer.
    """

    request: str
    shipment_id: str
    operator: str
    reason: str
    requested_at: datetime
    taken_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    appended: int
    detail: str | None


class Requests(msgspec.Struct, frozen=True):
    """The newest requests about a shipment. `is_asking`: a reconcile service runs that answers those that wait."""

    newest: tuple[AskRequest, ...] = ()
    is_asking: bool = True


class AskProspect(msgspec.Struct, frozen=True):
    """What asking would be about: the shipment, when its courier was last asked about it and what came of it."""

    shipment: KnownShipment
    asked_at: datetime | None
    outcome: str | None
    waiting: AskRequest | None
    is_asking: bool


async def look(pool: Pool, name: str) -> AskProspect:
    """Return what is known before a courier is asked about the shipment that a name means. Changes nothing.

    Raises:
        OperatorError: there is none, or its courier cannot be asked about it.
        SeveralError: there are several.

    """
    known = await known_shipment(pool, name)
    if (why := refusal(known)) is not None:
        raise OperatorError(why)
    async with pool.acquire() as connection:
        last = await connection.fetchrow(_Q["asks_of_shipment"], known.shipment_id)
    found = await requests_of(pool, known.shipment_id, known.account)
    waiting = next((each for each in found.newest if each.ended_at is None), None)
    runs = await is_asking(pool, known.account) if waiting is None else found.is_asking
    asked_at, outcome = (last["asked_at"], last["outcome"]) if last else (None, None)
    return AskProspect(known, asked_at, outcome, waiting, runs)


def refusal(known: KnownShipment) -> str | None:
    """Say why a courier cannot be asked about a shipment, if so."""
    courier = COURIERS.get(known.courier)
    if courier is None:
        return f"{known.courier} is no courier that this version knows"
    if courier.tracking is None:
        return f"{known.courier} has no API that can be asked"
    if known.status is None:
        return f"{known.shipment_id} has no status yet: only shipments with one are asked about"
    if known.retired_at is not None:
        return f"{known.shipment_id} was archived at {format_time(known.retired_at)}: no answer would move it any more"
    return None


async def request(pool: Pool, prospect: AskProspect, operator: str, reason: str, name: str) -> AskRequest:
    """Ask for a courier to be asked, and write down who did and why. `name` is the request's: it asks once.

    Where one about the shipment waits already, return that.

    Raises:
        OperatorError: too many wait already.

    """
    shipment_id = prospect.shipment.shipment_id
    async with pool.acquire() as connection, connection.transaction():
        found = await connection.fetchrow(_Q["request"], name, shipment_id)
        if found is None:
            if await connection.fetchval(_Q["count_waiting_requests"], MOST_WAITING) >= MOST_WAITING:
                raise OperatorError(f"{MOST_WAITING:,} requests wait already: is `waybill reconcile` running?")
            if await connection.fetchval(_Q["request_ask"], name, shipment_id, operator, reason, datetime.now(UTC)):
                detail = {"shipment_id": shipment_id, "request": name, "reason": reason}
                await note(connection, operator, COMMAND, detail)
            found = await connection.fetchrow(_Q["request"], name, shipment_id)
    if found is None:
        raise OperatorError(f"another request about {shipment_id} was answered just now: look at its answer")
    return _request(found)


async def answered(pool: Pool, asked: AskRequest, seconds: float = ANSWER_SECONDS) -> AskRequest:
    """Return a request as it is once it is answered, or after so many seconds."""
    until = monotonic() + seconds
    while asked.ended_at is None and monotonic() < until:
        await asyncio.sleep(LOOK_SECONDS)
        async with pool.acquire() as connection:
            asked = _request(await connection.fetchrow(_Q["request"], asked.request, asked.shipment_id))
    return asked


async def requests_of(pool: Pool, shipment_id: str, account: str | None) -> Requests:
    """Return the newest requests about a shipment of an account, the newest first."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["requests_of_shipment"], shipment_id, SHOWN)
    found = tuple(map(_request, rows))
    waits = any(each.ended_at is None for each in found)
    return Requests(found, await is_asking(pool, account) if waits else True)


def in_words(asked: AskRequest, *, is_asking: bool) -> str:
    """Say how a request stands, or what came of it."""
    match asked.outcome:
        case None if not is_asking:
            return "it waits: no `waybill reconcile` runs; the courier is asked as soon as one does"
        case None if asked.taken_at is not None:
            return f"the reconcile service took it up at {format_time(asked.taken_at)}: the courier is being asked"
        case None:
            return f"it waits for the reconcile service since {format_time(asked.requested_at)}"
        case AskResult.NEWS:
            return f"the courier told news: {asked.appended} records were appended"
        case AskResult.NO_NEWS:
            return "the courier told nothing that was not known"
        case AskResult.NOT_FOUND:
            return "the courier knows no such shipment"
        case AskResult.THROTTLED:
            return "the courier is asked too often: ask again later"
        case AskResult.FAILED:
            return f"there was no usable answer: {asked.detail}"
        case AskResult.REFUSED:
            return f"the courier does not accept our credentials: {asked.detail}"
        case outcome if outcome == MOVED:
            return "an event came before the courier was asked: it was not asked"
        case outcome if outcome == NOT_ASKED:
            return f"the reconcile service does not ask this courier: {asked.detail}"
        case outcome:
            return outcome


def last_in_words(prospect: AskProspect) -> str:
    """Say when a shipment's courier was last asked about it, and what came of it."""
    if prospect.asked_at is None:
        return "it was not asked about this shipment since its last event"
    came = "no answer is known" if prospect.outcome is None else prospect.outcome.replace("_", " ")
    return f"it was last asked at {format_time(prospect.asked_at)}: {came}"


def _request(row: object) -> AskRequest:
    return msgspec.convert(dict(row), AskRequest)  # type: ignore[call-overload]
