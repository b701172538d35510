"""Who may log in, by access `file`: as the file says now, so that whoever is taken out of it is out at once."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import structlog

from runtime.settings import Settings, read_console_users
from runtime.values import ConsoleUser

log = structlog.get_logger(__name__)

Stamp = tuple[int, int, int]
"""What differs between two versions of a file: when it was written, its size, its number."""

NEVER: Final = (-1, -1, -1)


class UsersError(Exception):
    """The file of users cannot be read as it is. Nobody is let in meanwhile."""


class Users(Mapping[str, ConsoleUser]):
    """Users by name. Every look at them looks whether the file is another one by now: that takes microseconds.

    Raises:
        UsersError: at any look, when the file cannot be read, or says what it may not.

    """

    def __init__(self, settings: Settings, stamp: Callable[[str], Stamp] | None = None) -> None:
        """Begin with the users of the settings. `stamp` tells a file's version."""
        self._file = settings.console_users_file
        self._stamp = stamp or stamp_of
        self._known = {user.name: user for user in settings.console_users}
        self._read_at: Stamp = NEVER
        self._complaint: str | None = None

    def __getitem__(self, name: str) -> ConsoleUser:
        """Return a user."""
        return self._now()[name]

    def __iter__(self) -> Iterator[str]:
        """Return the names."""
        return iter(self._now())

    def __len__(self) -> int:
        """Return how many they are."""
        return len(self._now())

    def _now(self) -> Mapping[str, ConsoleUser]:
        if self._file is None:
            return self._known
        try:
            if (stamp := self._stamp(self._file)) != self._read_at:
                self._known = {user.name: user for user in read_console_users(self._file)}
                if self._read_at != NEVER or self._complaint:
                    log.info("users read again", users=len(self._known))
                self._read_at, self._complaint = stamp, None
        except (OSError, ValueError) as error:
            self._read_at = NEVER
            if self._complaint != (complaint := str(error)):
                log.warning("users cannot be read: nobody is let in", why=complaint)
                self._complaint = complaint
            raise UsersError("the file of users cannot be read: the console's log says why") from error
        return self._known


def stamp_of(path: str) -> Stamp:
    """Return a file's version.

    Raises:
        OSError: it is not there.

    """
    found = Path(path).stat()
    return found.st_mtime_ns, found.st_size, found.st_ino
