"""Who did what: the operator's name, and the table that remembers."""

import getpass
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from runtime.postgres import Connection
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.decisions import as_said
from schemas.observation import Decision

_Q: Final = load_queries("operators.shared")


def operator_name(settings: Settings) -> str:
    """Name the operator: `WAYBILL_OPERATOR`, else the system's user."""
    return settings.operator or getpass.getuser()


async def note(connection: Connection, operator: str, command: str, detail: Mapping[str, Any]) -> None:
    """Write what an operator did into `operator_log`. `detail` must hold no personal data and no secret."""
    await connection.execute(_Q["log_deed"], operator, command, msgspec.json.encode(detail).decode())


async def write_down(connection: Connection, command: str, decisions: Sequence[tuple[str, Decision]]) -> None:
    """Write decisions, each with its command id, into `operator_log`, before they are appended.

    The processor applies a decision only if it finds it there, so nothing may be appended that this has not written.
    """
    details = [msgspec.json.encode({"command_id": name, **as_said(decision)}).decode() for name, decision in decisions]
    operators = [decision.by for _, decision in decisions]
    await connection.execute(_Q["log_decisions"], operators, command, details)
