"""Passwords of access `file`: argon2id hashes, compared one at a time beside the event loop."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from console.sessions import Attempts
from runtime.values import ConsoleUser

MAX_PASSWORD_CHARS: Final = 1_000
"""A longer one is no password: it is not looked at."""

WAITING: Final = 8
"""Log-ins that may wait for their turn: each takes some 50 ms and 64 MiB. Whoever comes then has to come again."""

_hasher: Final = PasswordHasher()
_NOBODYS: Final = _hasher.hash("")
"""Compared where a name is not in the file, so that both take as long."""


class BusyError(Exception):
    """The log-in cannot be judged now. `wait` says when to come again."""

    def __init__(self, wait: timedelta) -> None:
        """Keep it."""
        super().__init__("too many attempts")
        self.wait = wait


def hashed(password: str) -> str:
    """Return a password's argon2id hash."""
    return _hasher.hash(password)


class Passwords:
    """Judges log-ins."""

    def __init__(self, users: Mapping[str, ConsoleUser]) -> None:
        """Judge by these users' hashes."""
        self._users = users
        self._attempts = Attempts(users)
        self._one = asyncio.Lock()
        self._waiting = 0

    async def log_in(self, name: str, password: str) -> ConsoleUser | None:
        """Return who logs in; None: the name or the password is wrong.

        Raises:
            BusyError: there were too many wrong ones, or too many at once.

        """
        if self._waiting >= WAITING:
            raise BusyError(timedelta(seconds=1))
        self._waiting += 1
        try:
            async with self._one:
                return await self._judge(name, password)
        finally:
            self._waiting -= 1

    async def _judge(self, name: str, password: str) -> ConsoleUser | None:
        now = datetime.now(UTC)
        if (wait := self._attempts.wait(name, now)) is not None:
            raise BusyError(wait)
        user = self._users.get(name)
        known = _NOBODYS if user is None else user.hash
        right = len(password) <= MAX_PASSWORD_CHARS and await asyncio.to_thread(_verify, known, password)
        if user is None or not right:
            self._attempts.failed(name, now)
            return None
        self._attempts.succeeded(name)
        return user


def _verify(known: str, password: str) -> bool:
    try:
        return _hasher.verify(known, password)
    except (VerificationError, InvalidHashError):
        return False
