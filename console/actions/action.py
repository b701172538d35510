"""What an action is: what it is asked with, what it would do, and what came of it."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any, Final

import msgspec

from console.access import Role, Who
from console.page import Asked, Context, ForbiddenError, WrongQueryError
from operators.decisions.decide import EventSummary
from schemas.decisions import MAX_DECIDED
from schemas.times import read_time
from schemas.tolerant_json import unstorable

ACTION_SECONDS: Final = 120.0
"""How long an action may take: a thousand decisions are applied in seconds, and where no processor runs it is waited
for half a minute. Then it is said that it may have been done in part."""

_COMMAND: Final = "decision-"


class MayNotActError(ForbiddenError):
    """Whoever asks may not do that. The text says why."""


class ImpossibleError(Exception):
    """Nothing of the kind can be done. The text says why, and what may be done instead."""


class Plan(msgspec.Struct, frozen=True):
    """What an action would do, in words, and the event that is predicted, if nothing else arrives before.

    `possible`: there is something to do. `under_way`: it is not known yet, and is being looked at. `until` bounds
    what a filter means to what was there when it was looked at. `agreed` is what is agreed to by a form that sends it
    back: a text that only a console of this key can have made, so that any of them does what this one has planned.
    """

    words: tuple[str, ...]
    possible: bool
    event: EventSummary | None = None
    until: str | None = None
    under_way: bool = False
    agreed: str | None = None


class Came(msgspec.Struct, frozen=True):
    """What came of an action, in words, and the event that came. `whole`: all of it is done and applied."""

    words: tuple[str, ...]
    whole: bool
    event: EventSummary | None = None


class Order(msgspec.Struct, frozen=True):
    """What is said with an action: why, and by which command id, so that a form sent twice acts once.

    `until` and `agreed` are those of the plan that was agreed to.
    """

    reason: str
    command_id: str
    until: str | None = None
    agreed: str | None = None

    def job(self, kind: str) -> str:
        """Name the job that it asks for: of a form sent twice the same."""
        return f"{kind}-{self.command_id.removeprefix(_COMMAND)}"


class Action(msgspec.Struct, frozen=True):
    """One action, at `/do/<name>`: GET tells what it would do, POST does it.

    `query` says about what; `back` gives the address of the page where that is seen.
    """

    name: str
    title: str
    meaning: str
    query: type[msgspec.Struct]
    look: Callable[[Context, Any, Asked], Awaitable[Plan]]
    act: Callable[[Context, Any, Asked, Order], Awaitable[Came]]
    back: Callable[[Any], str]

    @property
    def path(self) -> str:
        """Where it stands."""
        return f"/do/{self.name}"


def may_act(context: Context, who: Who) -> bool:
    """Whether actions are offered to somebody."""
    return context.settings.console_writes and Role.OPERATOR in who.roles


def require_may_act(context: Context, who: Who) -> None:
    """Make sure that somebody may act.

    Raises:
        MayNotActError: the console only looks, or they do.

    """
    if not context.settings.console_writes:
        raise MayNotActError("this console only looks: WAYBILL_CONSOLE_WRITES=1 lets it act")
    if Role.OPERATOR not in who.roles:
        raise MayNotActError("acting takes the role operator")


def counted(number: int, one: str, many: str) -> str:
    """Say how many: `1 anomaly`, `1,000 anomalies`."""
    return f"{number:,} {one if number == 1 else many}"


def new_command_id() -> str:
    """Return the id by which a form's decision is known."""
    return f"{_COMMAND}{token_hex(8)}"


def moment_of(until: str | None) -> datetime:
    """Return the moment until which a filter means what is there; it is now unless a plan said so.

    Raises:
        WrongQueryError: it is none.

    """
    if until is None:
        return datetime.now(UTC)
    found = read_time(until, UTC)
    if found is None:
        raise WrongQueryError("until is not a moment")
    return found[0]


def read_order(given: dict[str, str]) -> Order:
    """Read what was said with an action.

    Raises:
        WrongQueryError: no reason is given, or the form is not one of ours.

    """
    reason, command_id = given.get("why", "").strip(), given.get("command_id", "")
    if not reason or len(reason) > MAX_DECIDED or unstorable(reason):
        raise WrongQueryError(f"give a reason of 1 to {MAX_DECIDED} characters")
    number = command_id.removeprefix(_COMMAND)
    if command_id == number or len(number) != 16 or set(number) - set("0123456789abcdef"):
        raise WrongQueryError("command_id is not a form's")
    return Order(reason, command_id, given.get("until") or None)
