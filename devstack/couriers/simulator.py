"""The couriers' side of the world: their shipments, their merchant's account, and a note of every request."""

import hmac
import secrets
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from devstack.couriers import kiriminaja
from devstack.couriers.lives import Life, so_far, truth
from devstack.couriers.misbehaviour import Script

SIGN_IN: Final = "sign-in"
"""Stands for the shipment where Dash is asked for a token: in the script and in the notes."""

TOKEN_SECONDS: Final = 3600.0
"""How long a token of Dash lives. Its real life is not documented."""


class Account(msgspec.Struct, frozen=True):
    """The merchant's credentials at both couriers."""

    kiriminaja_key: str
    dash_client_key: str
    dash_client_secret: str

    def settings(self, url: str) -> dict[str, str]:
        """Return the settings by which Waybill asks both couriers at this URL."""
        return {
            "WAYBILL_KIRIMINAJA_API_URL": url,
            "WAYBILL_KIRIMINAJA_API_KEY": self.kiriminaja_key,
            "WAYBILL_DASH_API_URL": url,
            "WAYBILL_DASH_CLIENT_KEY": self.dash_client_key,
            "WAYBILL_DASH_CLIENT_SECRET": self.dash_client_secret,
        }


class Asked(msgspec.Struct, frozen=True):
    """One request. `at`: when it arrived, in seconds of the monotonic clock. `answer`: a status or a misbehaviour."""

    at: float
    courier: str
    reference: str
    answer: str


class Strayed(msgspec.Struct, frozen=True):
    """A request that followed a redirect to another host. `authorized`: it brought its credentials along."""

    path: str
    authorized: bool


class Simulator:
    """Both couriers at once. `devstack.couriers.server.serving` puts it on a port."""

    def __init__(self, account: Account, token_seconds: float = TOKEN_SECONDS) -> None:
        """`token_seconds`: how long a token of Dash lives."""
        self.account = account
        self.script = Script()
        self.asked: list[Asked] = []
        self.strayed: list[Strayed] = []
        self._lives: dict[str, Life] = {}
        self._happened: dict[str, int] = {}
        self._by_awb: dict[str, str] = {}
        self._tokens: dict[str, float] = {}
        self._token_seconds = token_seconds

    # --- Shipments

    def add(self, *lives: Life, moves: int = 0) -> None:
        """Take shipments in, so many moves old. A courier knows a shipment from its first move on."""
        for life in lives:
            assert life.reference not in self._lives, f"{life.reference} is there already"
            self._lives[life.reference] = life
            self._happened[life.reference] = min(moves, len(life.moves))
            self._by_awb[life.awb] = life.reference

    def grow(self, reference: str, moves: int = 1) -> tuple[Life, ...]:
        """Let the next moves happen, as far as the life goes. Returns the life as it stood after each."""
        life, begin = self._lives[reference], self._happened[reference]
        end = min(begin + moves, len(life.moves))
        self._happened[reference] = end
        return tuple(so_far(life, number) for number in range(begin + 1, end + 1))

    def grow_all(self, moves: int | None = None) -> tuple[Life, ...]:
        """Let so many moves of every shipment happen, or all that are left, in the order of their times."""
        grown = [
            life
            for reference, whole in self._lives.items()
            for life in self.grow(reference, len(whole.moves) if moves is None else moves)
        ]
        return tuple(sorted(grown, key=lambda life: life.moves[-1].at))

    def now(self, reference: str) -> Life:
        """Return a shipment's life so far."""
        return so_far(self._lives[reference], self._happened[reference])

    def truth(self) -> dict[str, str | None]:
        """Say where every shipment stands, by reference."""
        return {reference: truth(self.now(reference)) for reference in self._lives}

    def parcel(self, asked: str) -> Life | None:
        """Find what KiriminAja's tracking knows by this order id or AWB: express parcels only."""
        life = self._known(self._by_awb.get(asked, asked), "kiriminaja")
        if len(asked) > kiriminaja.LONGEST_ORDER_ID or life is None or life.service != "express":
            return None
        return life if kiriminaja.is_asked_by(life, asked) else None

    def delivery(self, reference: str) -> Life | None:
        """Find a delivery of Dash."""
        return self._known(reference, "dash")

    def _known(self, reference: str, courier: str) -> Life | None:
        if reference not in self._lives or not self._happened[reference]:
            return None
        life = self.now(reference)
        return life if life.courier == courier else None

    # --- Credentials

    def is_kiriminaja_key(self, authorization: str) -> bool:
        """Tell whether the header names the merchant's API key."""
        return _same(authorization, f"Bearer {self.account.kiriminaja_key}")

    def new_token(self, client_key: str, client_secret: str) -> str | None:
        """Give out a token of Dash; None for wrong credentials."""
        if not _same(client_key, self.account.dash_client_key):
            return None
        if not _same(client_secret, self.account.dash_client_secret):
            return None
        token = secrets.token_urlsafe()
        self._tokens[f"Bearer {token}"] = time.monotonic() + self._token_seconds
        return token

    def is_token(self, authorization: str) -> bool:
        """Tell whether the header names a token of Dash that still lives."""
        return self._tokens.get(authorization, 0.0) > time.monotonic()

    def expire_tokens(self) -> None:
        """End the life of every token given out."""
        self._tokens.clear()

    # --- Notes

    def times(self, reference: str) -> list[float]:
        """Say when this shipment was asked about, oldest first."""
        return sorted(one.at for one in self.asked if one.reference == reference)

    def busiest(self, courier: str, seconds: float = 1.0) -> int:
        """Count the requests in the busiest span of so many seconds, wherever it begins."""
        return busiest((one.at for one in self.asked if one.courier == courier), seconds)


def busiest(times: Iterable[float], seconds: float) -> int:
    """Count the most of these times that lie within one half-open span of so many seconds."""
    most = 0
    window: deque[float] = deque()
    for at in sorted(times):
        window.append(at)
        while window[0] <= at - seconds:
            window.popleft()
        most = max(most, len(window))
    return most


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())
