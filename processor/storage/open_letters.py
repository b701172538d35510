"""How many dead letters are open, for operators who look and for the processor's metrics."""

from typing import Final

from runtime.postgres import Connections
from runtime.queries import load_queries

_Q: Final = load_queries("processor.storage", "open_letters.sql")


async def count_open_letters(pool: Connections, most: int) -> dict[tuple[str, str], int]:
    """Count those of the newest letters, at most so many, that are open, one for each root, by reason and courier.

    The courier is `""` where the record names none.
    """
    async with pool.acquire() as connection:
        rows = await connection.fetch(_Q["count_open_letters"], most)
    return {(row["reason"], row["courier"]): row["letters"] for row in rows}
