"""Asking a courier's API as its folder declares: which couriers can be asked, and each request about a shipment."""

import asyncio
from functools import partial
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

from reconcile.line import CourierClient, Reply
from reconcile.outcomes import Answered, AskOutcome, Failed, Refused, Throttled, Unknown
from runtime.settings import PREFIX, Settings
from schemas.couriers import COURIERS
from schemas.couriers.base import ApiKey, NotFound, SignIn, Tracking
from schemas.records import UnreadableError

_DOTS: Final = str.maketrans({".": "%2E"})


def required(courier: str) -> tuple[str, ...]:
    """Name the settings that it takes to ask a courier. None: it cannot be asked."""
    tracking = COURIERS[courier].tracking
    return tuple(f"{PREFIX}{name}" for name in tracking.settings) if tracking else ()


def lacking(settings: Settings, courier: str) -> tuple[str, ...]:
    """Name those of them that are not set."""
    return tuple(name for name in required(courier) if settings.tracking[name.removeprefix(PREFIX)] is None)


def couriers_asked(settings: Settings) -> tuple[str, ...]:
    """Name the couriers that can be asked."""
    return tuple(courier for courier in COURIERS if required(courier) and not lacking(settings, courier))


class Api:
    """The API of one courier."""

    def __init__(self, tracking: Tracking, settings: Settings, line: CourierClient) -> None:
        """`line` leads to it. Every setting that asking takes is set."""
        self._tracking = tracking
        self._values = {name: value for name in tracking.settings if (value := settings.tracking[name]) is not None}
        self._address = self._values[tracking.address.name]
        self._line = line
        self._token: str | None = None
        self._signing_in = asyncio.Lock()

    async def prepare(self) -> Throttled | Failed | Refused | None:
        """Sign in, where the courier wants that and it was not done. Returns what stands in the way.

        Raises:
            NotNowError: it would take too long.

        """
        if not isinstance(self._tracking.access, SignIn):
            return None
        async with self._signing_in:
            if self._token is not None:
                return None
            await self._line.turn()
            said = await self._sign_in(self._tracking.access)
            if not isinstance(said, str):
                return said
            self._token = said
            return None

    async def ask(self, reference: str) -> AskOutcome:
        """Ask about a shipment. Its turn has come. A token that has ended is renewed once.

        Raises:
            NotNowError: the token has ended, and another would take too long.

        """
        used = self._token
        outcome = await self._ask(reference)
        if not isinstance(outcome, Refused) or not isinstance(self._tracking.access, SignIn):
            return outcome
        if self._token == used:
            self._token = None
        in_the_way = await self.prepare()
        if in_the_way is not None:
            return in_the_way
        await self._line.turn()
        return await self._ask(reference)

    async def _sign_in(self, access: SignIn) -> str | Throttled | Failed | Refused:
        credentials = {member: self._values[setting.name] for member, setting in access.credentials.items()}
        read = partial(_read_token, access)
        return await self._line.exchange(read, "POST", f"{self._address}{access.path}", {}, credentials)

    async def _ask(self, reference: str) -> AskOutcome:
        tracking = self._tracking
        path = tracking.path.replace("{reference}", _quoted(reference))
        document = tracking.body(reference) if tracking.body else None
        read = partial(_read, tracking, reference)
        return await self._line.exchange(read, tracking.method, f"{self._address}{path}", self._shown(), document)

    def _shown(self) -> dict[str, str]:
        """Return the header by which the merchant is known."""
        match self._tracking.access:
            case ApiKey(setting, header, scheme):
                key = self._values[setting.name]
                return {header: f"{scheme} {key}" if scheme else key}
            case SignIn():
                return {"Authorization": f"Bearer {self._token}"}


def _quoted(reference: str) -> str:
    path = quote(reference, safe="")
    return path.translate(_DOTS) if reference in {".", ".."} else path  # else it would name another path


def _read_token(access: SignIn, reply: Reply) -> str | Failed:
    if reply.status != HTTPStatus.OK:
        return Failed(f"the sign-in answers {reply.status}: is the address of the API right?")
    try:
        return access.token_of(reply.body)
    except UnreadableError as error:
        return Failed(f"the sign-in's answer cannot be read: {error.detail}")


def _read(tracking: Tracking, reference: str, reply: Reply) -> Answered | Unknown | Failed:
    not_found = reply.status == HTTPStatus.NOT_FOUND
    if not_found and tracking.unknown_is_404:
        return Unknown()
    try:
        found = tracking.pieces(reply.body, reference)
    except UnreadableError as error:
        if not_found:
            return Failed("the courier answers 404: is the address of its API right?")
        return Failed(f"the answer cannot be read: {error.detail}")
    if isinstance(found, NotFound):
        return Unknown()
    return Failed("the courier answers 404") if not_found else Answered(found)
