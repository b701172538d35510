"""Free ports on the loopback interface."""

import random
import socket
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
    """Find this many free ports."""
    found: list[int] = []
    for port in random.sample(PORT_RANGE, len(PORT_RANGE)):
        if is_free(port):
            found.append(port)
        if len(found) == count:
            return found
    raise StartError(f"no free port between {PORT_RANGE.start} and {PORT_RANGE.stop}")


def kept_ports(file: Path, count: int) -> list[int]:
    """Return the ports remembered in the file if they are free, else others, and remember them."""
    words = file.read_text().split() if file.exists() else []
    ports = [int(word) for word in words if word.isdecimal()]
    if len(ports) != count or not all(port in PORT_RANGE and is_free(port) for port in ports):
        ports = free_ports(count)
        file.write_text(" ".join(map(str, ports)) + "\n")
    return ports
