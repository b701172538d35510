"""Free ports on the loopback interface."""

import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

from devstack.errors import StartError

HOST: Final = "127.0.0.1"

PORT_RANGE: Final = range(15000, 32000)
"""Below what Linux and macOS give to outgoing connections: a client that connects to a killed broker's port could
otherwise be given that very port as its own, and the broker could not come back to it."""


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Find this many free ports. No other call gets them while this process lives, whoever makes it."""
    found: list[int] = []
    for port in random.sample(PORT_RANGE, len(PORT_RANGE)):
        if port not in _given and is_free(port) and _claim(port):
            _given.add(port)
            found.append(port)
        if len(found) == count:
            return found
    raise StartError(f"no free port between {PORT_RANGE.start} and {PORT_RANGE.stop}")


def kept_ports(file: Path, count: int) -> list[int]:
    """Return the ports remembered in the file if they are free, else others, and remember them."""
    words = file.read_text().split() if file.exists() else []
    ports = [int(word) for word in words if word.isdecimal()]
    if len(ports) != count or not all(port in PORT_RANGE and is_free(port) and _claim(port) for port in ports):
        ports = free_ports(count)
        file.write_text(" ".join(map(str, ports)) + "\n")
    return ports


_given: Final[set[int]] = set()


def _claim(port: int) -> bool:
    """Lock the port's byte in a file of this user's until this process ends; tell whether no other process has it.

    A port is looked for some seconds before its server listens: meanwhile it must not look free to another run.
    """
    try:
        fcntl.lockf(_claims(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    return True


@functools.cache
def _claims() -> int:
    """Return the file's only descriptor, which stays open: to close one would give up all locks of this process."""
    file = Path(tempfile.gettempdir()) / f"waybill-ports-{os.getuid()}"
    try:
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartError(f"ports cannot be claimed in {file}: {error.strerror}") from error
