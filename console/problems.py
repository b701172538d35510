"""What goes wrong with a request, as it is told: a status, a title, a sentence. Nothing of ours leaks out."""

from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

from console.access import RefusedError
from console.actions.action import ImpossibleError, MayNotActError
from console.page import ForbiddenError, WrongQueryError
from console.tail import FullError
from console.users import UsersError
from operators.doctor.finding import FAILURES
from operators.shared.errors import OperatorError, SeveralError
from runtime.errors import SetupError
from runtime.kafka import KAFKA_ERRORS
from runtime.postgres import DATABASE_ERRORS


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """An error, as RFC 9457 writes it."""

    title: str
    status: int
    detail: str
    allow: tuple[str, ...] = ()
    """The methods that work here, where another was used."""


UNKNOWN: Final = Problem(
    "That went wrong",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "The console has met something it does not know. Its log says what, under `page failed`.",
)
"""What is told of an error of our own."""


def problem_of(error: Exception) -> Problem:  # noqa: C901 - a table
    """Return what is told of an error."""
    match error:
        case WrongQueryError():
            return Problem("That cannot be asked", HTTPStatus.BAD_REQUEST, str(error))
        case MayNotActError():
            return Problem("You may not do that", HTTPStatus.FORBIDDEN, str(error))
        case ImpossibleError():
            return Problem("That cannot be done", HTTPStatus.CONFLICT, str(error))
        case RefusedError() | ForbiddenError():
            return Problem("You may not see this", HTTPStatus.FORBIDDEN, str(error))
        case SeveralError():
            named = ", ".join(match.shipment_id for match in error.matches)
            return Problem("That may be several", HTTPStatus.BAD_REQUEST, f"{error}: {named}")
        case OperatorError():
            return Problem("Nothing is here", HTTPStatus.NOT_FOUND, str(error))
        case web.HTTPException():
            return _of_http(error)
        case UsersError():
            return Problem("Nobody can be let in", HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case FullError():
            return Problem("Too many look", HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        case TimeoutError():
            told = "The page took too long. A store does not answer, or much is asked at once: try again."
            return Problem("That took too long", HTTPStatus.GATEWAY_TIMEOUT, told)
        case _ if isinstance(error, (SetupError, *KAFKA_ERRORS, *DATABASE_ERRORS)):
            return Problem("A store does not answer", HTTPStatus.SERVICE_UNAVAILABLE, _line(error))
        case _ if isinstance(error, FAILURES):
            return Problem("What is stored cannot be read", HTTPStatus.INTERNAL_SERVER_ERROR, _line(error))
        case _:
            return UNKNOWN


def _of_http(error: web.HTTPException) -> Problem:
    match error:
        case web.HTTPNotFound():
            return Problem("Nothing is here", HTTPStatus.NOT_FOUND, "No page has this address.")
        case web.HTTPMethodNotAllowed():
            allowed = tuple(sorted(error.allowed_methods))
            told = f"This address takes {', '.join(allowed)} only."
            return Problem("Not by this method", HTTPStatus.METHOD_NOT_ALLOWED, told, allowed)
        case _:
            return Problem(error.reason, error.status, "The request cannot be served as it is.")


def _line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]  # behind it PostgreSQL quotes rows
