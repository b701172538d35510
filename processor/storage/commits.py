"""Whether PostgreSQL commits: one that waits for a standby answers every question, and keeps nothing."""

from typing import Final

from runtime.postgres import Connection
from runtime.queries import load_queries

ANSWER_SECONDS: Final = 3.0
"""How long an answer may take. A store that is there takes milliseconds; a busy event loop of ours adds some 100."""

_Q: Final = load_queries("processor.storage")


async def commits(connection: Connection) -> bool:
    """Whether a commit gets through in time. What it writes to the log of PostgreSQL nobody reads."""
    try:
        await connection.execute(_Q["commit_nothing"], timeout=ANSWER_SECONDS)
    except TimeoutError:
        return False
    return True


async def standbys_waited_for(connection: Connection, seconds: float) -> str | None:
    """Return `synchronous_standby_names` where a commit of ours has waited for them for so long, else None."""
    names: str | None = await connection.fetchval(_Q["standbys_waited_for"], seconds)
    return names
