"""Erasing a shipment's personal data: what an erasure reaches, and the stored dead letters about the shipment."""

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Final

import msgspec

from operators.dead_letters.letters import Body, Letter, chunks
from operators.dead_letters.stored_letters import bodies, pages
from operators.dead_letters.stored_letters import decide as decide_letters
from operators.decisions.known_shipment import KnownShipment, load
from operators.shared.errors import OperatorError
from operators.shared.outcomes import APPLY_SECONDS
from operators.shared.rereading import reread
from operators.shared.topic_retention import retentions
from processor.core.reading import Read, ZoneOf
from runtime.postgres import Pool, fetch_one
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.observation import PERSONAL
from schemas.topics import Topic

_POLL_SECONDS: Final = 0.2
_Q: Final = load_queries("operators.decisions")


class TopicReach(msgspec.Struct, frozen=True):
    """How long a topic may hold what an erasure cannot reach. None: for ever."""

    topic: str
    until: datetime | None


class Erasure(msgspec.Struct, frozen=True):
    """What an erasure reaches, and what not."""

    fields: tuple[str, ...]
    observations: int
    events: int
    dead_letters: int
    beyond: tuple[TopicReach, ...]


async def what_goes(pool: Pool, settings: Settings, known: KnownShipment) -> Erasure:
    """Look at what an erasure of a shipment reaches, and until when what it does not reach may be there."""
    shipment = await load(pool, known.shipment_id)
    said = shipment.records.values() if shipment else ()
    found = [each for each in PERSONAL if any(getattr(one.details, each) for one in said)]
    async with pool.acquire() as connection:
        counts = await fetch_one(connection, _Q["stored_of_shipment"], known.shipment_id)
    letters = await letters_of(pool, known.shipment_id, settings.assumed_zone)
    kept = await retentions(settings, (Topic.RAW, Topic.DEAD_LETTERS, Topic.EVENTS))
    newest = counts["newest"] or datetime.now(UTC)
    beyond = tuple(
        TopicReach(settings.topic(topic), None if length is None else newest + length) for topic, length in kept.items()
    )
    return Erasure(tuple(found), counts["observations"], counts["events"], len(letters), beyond)


async def letters_of(pool: Pool, shipment_id: str, zone_of: ZoneOf) -> list[Letter]:
    """Return the stored dead letters about a shipment: by their key, or by what today's code reads in them."""
    found: list[Letter] = []
    async with aclosing(pages(pool)) as all_:
        async for page in all_:
            whole = [each for each in page if each.size is not None]
            others = [each for each in whole if each.key != shipment_id]
            found += [each for each in whole if each.key == shipment_id]
            for chunk in chunks(others):
                found += [each.letter for each in await bodies(pool, chunk) if _is_about(each, shipment_id, zone_of)]
    return found


async def forget_letters(pool: Pool, shipment_id: str, zone_of: ZoneOf, operator: str) -> int:
    """Take the bodies out of the stored dead letters about a shipment; return how many there were.

    They count as dropped. One that is not published yet is waited for.

    Raises:
        OperatorError: it is not published in time.

    """
    clock = asyncio.get_running_loop()
    deadline, forgotten = clock.time() + APPLY_SECONDS, 0
    while letters := await letters_of(pool, shipment_id, zone_of):
        columns = [list(each) for each in zip(*(letter.place for letter in letters), strict=True)]
        async with pool.acquire() as connection, connection.transaction():
            forgotten += await connection.fetchval(_Q["forget_dead_letters"], *columns)
            roots = list({letter.root for letter in letters})
            await decide_letters(connection, roots, "dropped", [None] * len(roots), operator, "erased")
        if clock.time() > deadline:
            raise OperatorError("a dead letter about it is not published yet: start a processor, then erase again")
        await asyncio.sleep(_POLL_SECONDS)
    return forgotten


def _is_about(body: Body, shipment_id: str, zone_of: ZoneOf) -> bool:
    reading = reread(body.record, "", zone_of, partitions=1)
    return isinstance(reading, Read) and reading.observation.shipment_id == shipment_id
