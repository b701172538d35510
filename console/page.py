"""What a page is: where it stands, what it may be asked, what it answers, and as what it is shown."""

import types
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from console.access import Who
from console.database import Database
from console.looks import Look
from console.plans import Plans
from console.tail import Tail
from operators.decisions.anomalies import Standing
from operators.doctor.finding import Finding
from operators.views.drift import Drift
from operators.views.flow import Flow
from operators.views.lag import Lag
from runtime.settings import Settings
from schemas.times import read_time

ROWS: Final = 50
"""Rows of a list on one page."""

MAX_TEXT: Final = 300
"""Characters of what is searched for, or narrowed by: ids and AWBs are far shorter."""


class WrongQueryError(Exception):
    """The page cannot be asked so. The text says which part is wrong."""


class ForbiddenError(Exception):
    """Whoever asks may not see that. The text says why."""


class ElsewhereError(Exception):
    """What is asked for stands at another address of ours."""

    def __init__(self, location: str) -> None:
        """Keep the address."""
        super().__init__(location)
        self.location = location


class Looks(msgspec.Struct, frozen=True):
    """What takes seconds to find out."""

    findings: Look[list[Finding]]
    halted: Look[Mapping[int, str]]
    lag: Look[list[Lag]]
    letters: Look[Mapping[tuple[str, str], int]]
    anomalies: Look[tuple[Sequence[Standing], bool]]
    drift: Look[Drift]
    flow: Look[Flow]

    async def close(self) -> None:
        """Give up those under way."""
        for name in self.__struct_fields__:
            await getattr(self, name).close()


class Context(msgspec.Struct, frozen=True):
    """What pages are made from."""

    settings: Settings
    database: Database
    looks: Looks
    tail: Tail
    plans: Plans


class Asked(msgspec.Struct, frozen=True):
    """One request for a page: what stands in its path, who sends it, and whether a page of ours led there."""

    name: str
    who: Who
    own_look: bool


class Page(msgspec.Struct, frozen=True):
    """One page.

    `query` and `answer` are structs; `load` makes the one of the other. `path` may hold `{name}`.
    """

    name: str
    path: str
    title: str
    meaning: str
    query: type[msgspec.Struct]
    answer: type[msgspec.Struct]
    load: Callable[[Context, Any, Asked], Awaitable[msgspec.Struct]]

    @property
    def template(self) -> str:
        """The file it is shown by."""
        return f"{self.name}.html"


def read_query(page: Page, given: Mapping[str, Sequence[str]]) -> msgspec.Struct:
    """Read what a page is asked, as `read_values` does."""
    return read_values(page.query, given)


def read_values(kind: type[msgspec.Struct], given: Mapping[str, Sequence[str]]) -> msgspec.Struct:
    """Read what is asked. Empty values are none; unknown names are passed over.

    Raises:
        WrongQueryError: a value is wrong.

    """
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        texts = [text.strip() for text in given.get(name, ()) if text.strip()]
        if any(len(text) > MAX_TEXT for text in texts):
            raise WrongQueryError(f"{name} is too long")
        if texts:
            values[name] = texts if takes_many(hint) else texts[0]
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        raise WrongQueryError(str(error)) from error


def takes_many(hint: Any) -> bool:
    """Whether a parameter may be repeated."""
    if get_origin(hint) in {Union, types.UnionType}:
        return any(takes_many(each) for each in get_args(hint))
    return get_origin(hint) is tuple


def read_key(text: str) -> tuple[datetime, str]:
    """Read where a page of a list begins: `<moment>~<rest>`.

    Raises:
        WrongQueryError: it is of another form.

    """
    at, mark, rest = text.partition("~")
    found = read_time(at, UTC)
    if not mark or found is None or not found[1]:
        raise WrongQueryError("behind is not where a page begins")
    return found[0], rest


def read_numbers(text: str, many: int) -> list[int]:
    """Read so many whole numbers of a key, with dots between.

    Raises:
        WrongQueryError: it is of another form.

    """
    parts = text.split(".")
    if len(parts) != many or not all(part.isascii() and part.isdecimal() and len(part) <= 18 for part in parts):
        raise WrongQueryError("behind is not where a page begins")
    return [int(part) for part in parts]
