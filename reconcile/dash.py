"""Dash's Get Delivery, with a token of its sign-in.

facts.md ("Dash"): the token's life is not stated, "so ask anew on 401".
"""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from reconcile.line import Line, Reply
from reconcile.outcomes import Answered, Failed, Outcome, Refused, Throttled, Unknown
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.couriers.base import NotFound
from schemas.couriers.dash import token_of
from schemas.records import UnreadableError

JSON_BODY: Final = {"Content-Type": "application/json"}

_DOTS: Final = str.maketrans({".": "%2E"})


class DashApi:
    """Asks Dash; signs in when it must."""

    def __init__(self, settings: Settings, line: Line) -> None:
        """`line` leads to it. Address, key and secret are set."""
        self._line = line
        self._base = f"{settings.dash_api_url}/v1"
        self._credentials = {"client_key": settings.dash_client_key, "client_secret": settings.dash_client_secret}
        self._token: str | None = None
        self._signing_in = asyncio.Lock()

    async def prepare(self) -> Throttled | Failed | Refused | None:
        """Sign in, unless that was done. Returns what stands in the way.

        Raises:
            NotNowError: it would take too long.

        """
        async with self._signing_in:
            if self._token is not None:
                return None
            await self._line.turn()
            said = await self._line.exchange(
                _read_token, "POST", f"{self._base}/auth/providers/token", JSON_BODY, self._credentials
            )
            if not isinstance(said, str):
                return said
            self._token = said
            return None

    async def ask(self, reference: str) -> Outcome:
        """Ask about a delivery. Its turn has come. A token that has ended is renewed once.

        Raises:
            NotNowError: the token has ended, and another would take too long.

        """
        used = self._token
        outcome = await self._ask(reference)
        if not isinstance(outcome, Refused):
            return outcome
        if self._token == used:
            self._token = None
        in_the_way = await self.prepare()
        if in_the_way is not None:
            return in_the_way
        await self._line.turn()
        return await self._ask(reference)

    async def _ask(self, reference: str) -> Outcome:
        path = quote(reference, safe="")
        if reference in {".", ".."}:
            path = path.translate(_DOTS)  # else it would name another path
        headers = {"Authorization": f"Bearer {self._token}"}
        return await self._line.exchange(partial(_read, reference), "GET", f"{self._base}/deliveries/{path}", headers)


def _read_token(reply: Reply) -> str | Failed:
    if reply.status != HTTPStatus.OK:
        return Failed(f"the sign-in answers {reply.status}: is the address of the API right?")
    try:
        return token_of(reply.body)
    except UnreadableError as error:
        return Failed(f"the sign-in's answer cannot be read: {error.detail}")


def _read(reference: str, reply: Reply) -> Answered | Unknown | Failed:
    if reply.status == HTTPStatus.NOT_FOUND:
        return Unknown()
    try:
        found = COURIERS["dash"].pulled(reply.body, reference)
    except UnreadableError as error:
        return Failed(f"the answer cannot be read: {error.detail}")
    return Unknown() if isinstance(found, NotFound) else Answered(found)
