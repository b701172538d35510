"""Who did what: the operator's name, and the table that remembers."""

import getpass
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from runtime.postgres import Connection
from runtime.queries import load_queries
from runtime.settings import Settings

_Q: Final = load_queries("operators")


def operator_name(settings: Settings) -> str:
    """Name the operator: `WAYBILL_OPERATOR`, else the system's user."""
    return settings.operator or getpass.getuser()


async def note(connection: Connection, operator: str, command: str, detail: Mapping[str, Any]) -> None:
    """Write what an operator did into `operator_log`. `detail` must hold no personal data and no secret."""
    await connection.execute(_Q["log_deed"], operator, command, msgspec.json.encode(detail).decode())
