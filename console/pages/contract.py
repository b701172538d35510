"""`/contract`: what subscribers rely on, with the names in force here."""

from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from console.page import Asked, Context, Page
from console.pages.couriers import NoQuery
from schemas.topics import TOPICS

SUBSCRIBING: Final = Path(__file__).parents[2] / "docs" / "subscribing.md"


class TopicLine(msgspec.Struct, frozen=True):
    """A topic: its name here, and for how many days it keeps a record; null: the newest of each key for ever."""

    name: str
    kept_days: float | None


class ContractPage(msgspec.Struct, frozen=True):
    """The topics by their names here, and the page for subscribers as Markdown."""

    topics: tuple[TopicLine, ...]
    text: str


async def load(context: Context, _query: NoQuery, _asked: Asked) -> ContractPage:
    """Return the page."""
    topics = [
        TopicLine(context.settings.topic(each.topic), None if each.retention is None else each.retention.days)
        for each in TOPICS
    ]
    return ContractPage(tuple(topics), _text())


@cache
def _text() -> str:
    return SUBSCRIBING.read_text(encoding="utf-8")


CONTRACT = Page(
    "contract", "/contract", "Contract", "What subscribers of the events rely on.", NoQuery, ContractPage, load
)
