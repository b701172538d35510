"""What a courier's server answers when it does not answer as documented. Pure."""

import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Final

import msgspec


class Refused(msgspec.Struct, frozen=True, tag=True):
    """429 or a 5xx. `retry_after`: the header's value, seconds or an HTTP date; None: no such header."""

    status: int
    retry_after: str | None = None


class Slow(msgspec.Struct, frozen=True, tag=True):
    """The right answer, after so many seconds of silence."""

    seconds: float


class Dripping(msgspec.Struct, frozen=True, tag=True):
    """The right answer, its bytes spread over so many seconds."""

    seconds: float


class Malformed(msgspec.Struct, frozen=True, tag=True):
    """200 and a document that ends in its middle, correctly framed."""


class HtmlPage(msgspec.Struct, frozen=True, tag=True):
    """200 and an error page for people."""


class Huge(msgspec.Struct, frozen=True, tag=True):
    """200 and a JSON document of so many bytes."""

    size: int = 64 * 1024 * 1024


class Redirected(msgspec.Struct, frozen=True, tag=True):
    """307 to another host. Empty: to this server under another name, where it notes who comes."""

    location: str = ""


class Cut(msgspec.Struct, frozen=True, tag=True):
    """The connection breaks: before the answer, or in the middle of its body."""

    answering: bool = False


Misbehaviour = Refused | Slow | Dripping | Malformed | HtmlPage | Huge | Redirected | Cut

THROTTLED: Final = Refused(429)
THROTTLED_FOR_A_SECOND: Final = Refused(429, "1")
BROKEN: Final = Refused(500)
UNAVAILABLE: Final = Refused(503)


class Fickleness(msgspec.Struct, frozen=True):
    """A share of all requests, from 0 to 1, is answered with one of these."""

    share: float
    answers: tuple[Misbehaviour, ...]
    seed: int = 0


class Script:
    """Decides how each request is answered: what was scripted for its shipment, else by chance, else as documented.

    Chance looks at the seed, the shipment and how often it was asked about, so the order of requests does not matter.
    """

    def __init__(self) -> None:
        """Begin with every answer as documented."""
        self._scripted: dict[str, deque[Misbehaviour]] = {}
        self._fickle: dict[str, Fickleness] = {}
        self._asked: Counter[str] = Counter()

    def next_answers(self, reference: str, answers: Sequence[Misbehaviour]) -> None:
        """Answer the next requests about this shipment so, one after the other."""
        self._scripted.setdefault(reference, deque()).extend(answers)

    def by_chance(self, courier: str, fickleness: Fickleness) -> None:
        """Answer a share of this courier's requests so from now on. A share of 0 ends it."""
        self._fickle[courier] = fickleness

    def decide(self, courier: str, reference: str) -> Misbehaviour | None:
        """Say how to answer this request; None: as documented."""
        self._asked[reference] += 1
        if waiting := self._scripted.get(reference):
            return waiting.popleft()
        fickle = self._fickle.get(courier)
        if fickle is None or fickle.share <= 0:
            return None
        chance = random.Random(f"{fickle.seed} {reference} {self._asked[reference]}")  # noqa: S311 - a simulation
        return chance.choice(fickle.answers) if chance.random() < fickle.share else None
