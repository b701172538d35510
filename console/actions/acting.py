"""Answering requests for actions: who may, which form is ours, what is told."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from console.access import Who
from console.actions.action import (
    Action,
    Came,
    ImpossibleError,
    MayNotActError,
    Plan,
    new_command_id,
    read_order,
    require_may_act,
)
from console.page import Asked, Context, read_values
from console.rendering import address
from console.sessions import form_token, is_form_token, sealed, unsealed
from operators.shared.errors import OperatorError, SeveralError

log = structlog.get_logger(__name__)


class Answer(msgspec.Struct, frozen=True):
    """What is answered about an action. `bound`: a cookie to set, to which its form is bound."""

    title: str
    told: Plan | Came
    values: Mapping[str, Any]
    bound: str | None = None


class Acting:
    """Answers about actions."""

    def __init__(self, context: Context, key: bytes) -> None:
        """Act in a context. `key` signs forms."""
        self._context = context
        self._key = key

    async def look(self, action: Action, who: Who, given: Mapping[str, Sequence[str]], bound: str) -> Answer:
        """Tell what an action would do, with the form that does it. `bound` is what the form is bound to, if anything.

        Raises:
            MayNotActError: not for them.
            WrongQueryError: it cannot be asked so.

        """
        require_may_act(self._context, who)
        query = read_values(action.query, given)
        plan = await action.look(self._context, query, Asked("", who, own_look=True))
        if plan.agreed is not None:
            plan = msgspec.structs.replace(plan, agreed=sealed(self._key, action.name, plan.agreed))
        cookie = bound or secrets.token_urlsafe(16)
        asked = {name: getattr(query, name) for name in query.__struct_fields__}
        values = {
            "action": action,
            "asked": [(name, each) for name, value in asked.items() for each in _each(value)],
            "plan": plan,
            "came": None,
            "token": form_token(self._key, cookie),
            "command_id": new_command_id(),
            "back": action.back(query),
            "here": address(action.path, **asked),
        }
        return Answer(action.title, plan, values, None if who.session else cookie)

    async def act(
        self, action: Action, who: Who, given: Mapping[str, Sequence[str]], bound: str, *, own_origin: bool
    ) -> Answer:
        """Do what a form says, if it is one of ours.

        Raises:
            MayNotActError: not for them, or the form was made for somebody else.
            WrongQueryError: no reason is given, or it cannot be asked so.
            ImpossibleError: there is nothing to do, or it cannot be done.

        """
        require_may_act(self._context, who)
        first = {name: values[0] for name, values in given.items()}
        if not own_origin or not is_form_token(self._key, bound, first.get("token", "")):
            raise MayNotActError("the form was not this browser's: load the page again")
        query, order = read_values(action.query, given), read_order(first)
        if "agreed" in first:
            agreed = unsealed(self._key, action.name, first["agreed"])
            order = msgspec.structs.replace(order, agreed=agreed)
        try:
            came = await action.act(self._context, query, Asked("", who, own_look=True), order)
        except SeveralError:
            raise
        except OperatorError as error:
            raise ImpossibleError(str(error)) from error
        log.info("acted", action=action.name, name=who.name, whole=came.whole)
        values = {"action": action, "plan": None, "came": came, "back": action.back(query)}
        return Answer(action.title, came, values)


def _each(value: Any) -> Iterable[Any]:
    """Return the values of a form's field."""
    return (value if isinstance(value, tuple) else (value,)) if value else ()
