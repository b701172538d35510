"""Sessions and forms: texts that only this console can have made. Pure.

A session says who has logged in, until when, and under which password: a changed password, or a name that is no more
in the file, ends it. It is not kept anywhere; logging out takes it from the browser.
"""

import hashlib
import hmac
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

import msgspec

from runtime.values import ConsoleUser

SESSION_LENGTH: Final = timedelta(hours=12)
"""How long a log-in lasts: a working day and no longer."""

FAILURES: Final = 5
"""Wrong passwords for a name until it has to wait: enough for a person, far too few to guess by."""

WAIT: Final = timedelta(minutes=5)
"""How long a name has to wait from its first wrong password on."""

_NOBODY: Final = ""
"""Stands for every name that is not in the file."""


class _Session(msgspec.Struct, frozen=True):
    name: str
    until: int
    password: str


_read: Final = msgspec.json.Decoder(_Session).decode


def new_session(key: bytes, user: ConsoleUser, now: datetime) -> str:
    """Return the session of somebody who has logged in."""
    until = int((now + SESSION_LENGTH).timestamp())
    content = urlsafe_b64encode(msgspec.json.encode(_Session(user.name, until, _mark(user)))).decode()
    return f"{content}.{_signed(key, 'session', content)}"


def whose(key: bytes, session: str, users: Mapping[str, ConsoleUser], now: datetime) -> ConsoleUser | None:
    """Return whose session a text is; None: nobody's, or no more."""
    content, _, signature = session.partition(".")
    if not _equal(_signed(key, "session", content), signature):
        return None
    try:
        found = _read(urlsafe_b64decode(content))
    except (msgspec.DecodeError, ValueError):
        return None
    user = users.get(found.name)
    if user is None or found.until <= now.timestamp() or not _equal(found.password, _mark(user)):
        return None
    return user


def form_token(key: bytes, bound: str) -> str:
    """Return what a form carries. `bound` is what the browser's cookie says: a page from elsewhere knows neither."""
    return _signed(key, "form", bound)


def is_form_token(key: bytes, bound: str, token: str) -> bool:
    """Whether a form was made for this browser."""
    return bool(bound) and _equal(form_token(key, bound), token)


def sealed(key: bytes, about: str, content: str) -> str:
    """Return a text that carries a content through a browser, unchanged. It is short enough for a form."""
    packed = urlsafe_b64encode(zlib.compress(content.encode(), 9)).decode()
    return f"{packed}.{_signed(key, f'sealed {about}', packed)}"


def unsealed(key: bytes, about: str, text: str) -> str | None:
    """Return the content that a text carries; None: no console of this key has made it for this."""
    packed, _, signature = text.partition(".")
    if not _equal(_signed(key, f"sealed {about}", packed), signature):
        return None
    return zlib.decompress(urlsafe_b64decode(packed)).decode()


class Attempts:
    """Wrong passwords, by name. Names that are not in the file share one count, so that no more is held than names."""

    def __init__(self, names: Mapping[str, ConsoleUser]) -> None:
        """Count for these names."""
        self._names = names
        self._failed: dict[str, tuple[datetime, int]] = {}

    def wait(self, name: str, now: datetime) -> timedelta | None:
        """Return how long a name has to wait until it may try again; None: it need not."""
        since, failures = self._failed.get(self._kept(name), (now, 0))
        left = since + WAIT - now
        return left if failures >= FAILURES and left > timedelta(0) else None

    def failed(self, name: str, now: datetime) -> None:
        """Note a wrong password."""
        kept = self._kept(name)
        since, failures = self._failed.get(kept, (now, 0))
        self._failed[kept] = (now, 1) if now - since >= WAIT else (since, failures + 1)

    def succeeded(self, name: str) -> None:
        """Note a right one."""
        self._failed.pop(self._kept(name), None)

    def _kept(self, name: str) -> str:
        return name if name in self._names else _NOBODY


def _mark(user: ConsoleUser) -> str:
    """Return what tells a password from another, and nothing else of it."""
    return hashlib.sha256(f"{user.name}:{user.hash}".encode()).hexdigest()[:32]


def _signed(key: bytes, what: str, content: str) -> str:
    return hmac.new(key, f"{what}:{content}".encode(), hashlib.sha256).hexdigest()


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
