"""KiriminAja's tracking: `POST /api/mitra/tracking`. kiriminaja-tracking.txt; facts.md ("Pull")."""

from functools import partial
from http import HTTPStatus

from reconcile.line import Line, Reply
from reconcile.outcomes import Answered, Failed, Outcome, Refused, Throttled, Unknown
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.couriers.base import NotFound
from schemas.records import UnreadableError


class KiriminAjaApi:
    """Asks KiriminAja with the merchant's API key."""

    def __init__(self, settings: Settings, line: Line) -> None:
        """`line` leads to it. Address and key are set."""
        self._line = line
        self._url = f"{settings.kiriminaja_api_url}/api/mitra/tracking"
        self._headers = {
            "Authorization": f"Bearer {settings.kiriminaja_api_key}",
            "Content-Type": "application/json",
        }

    async def prepare(self) -> Throttled | Failed | Refused | None:
        """Nothing: the key is all it takes."""
        return None

    async def ask(self, reference: str) -> Outcome:
        """Ask about a parcel. Its turn has come."""
        read = partial(_read, reference)
        return await self._line.exchange(read, "POST", self._url, self._headers, {"order_id": reference})


def _read(reference: str, reply: Reply) -> Answered | Unknown | Failed:
    try:
        found = COURIERS["kiriminaja"].pulled(reply.body, reference)
    except UnreadableError as error:
        if reply.status == HTTPStatus.NOT_FOUND:
            return Failed("the courier answers 404: is the address of its API right?")
        return Failed(f"the answer cannot be read: {error.detail}")
    if isinstance(found, NotFound):
        return Unknown()
    if reply.status == HTTPStatus.NOT_FOUND:
        return Failed("the courier answers 404")
    return Answered(found)
