"""Who sends a request, by the way of access that the settings name."""

from datetime import UTC, datetime
from typing import Final

from aiohttp import hdrs, web

from console.access import EVERYTHING, Access, RefusedError, Who, is_local_name, named_by_proxy, roles_of
from console.sessions import whose
from console.users import Users
from operators.shared.operator_log import operator_name
from runtime.settings import Settings

SESSION_COOKIE: Final = "waybill_console"
FORM_COOKIE: Final = "waybill_console_form"
"""Binds a form to a browser, where nobody has logged in."""


class Identity:
    """Knows who sends requests. `users` are those who may log in."""

    def __init__(self, settings: Settings, users: Users, key: bytes) -> None:
        """`key` has signed sessions."""
        self.access = Access(settings.console_access)
        self.users = users
        self._settings = settings
        self._key = key
        self._here = Who(operator_name(settings), EVERYTHING) if self.access is Access.NONE else None

    def who(self, request: web.Request) -> Who | None:
        """Return who sends a request; None: nobody has logged in.

        Raises:
            RefusedError: the request shows that its sender may not look.
            UsersError: it cannot be known who may.

        """
        match self.access:
            case Access.NONE:
                if not is_local_name(request.headers.get(hdrs.HOST, "")):
                    raise RefusedError("this console is reached by the name localhost, or 127.0.0.1, only")
                return self._here
            case Access.PROXY:
                settings = self._settings
                users = request.headers.getall(settings.console_proxy_user_header, [])
                groups = request.headers.getall(settings.console_proxy_groups_header, [])
                return named_by_proxy(settings, request.remote, users, groups)
            case Access.FILE:
                session = request.cookies.get(SESSION_COOKIE, "")
                user = whose(self._key, session, self.users, datetime.now(UTC))
                return None if user is None else Who(user.name, roles_of(user.roles), session)

    def bound(self, request: web.Request, who: Who) -> str:
        """Return what forms of a browser are bound to; empty: nothing yet."""
        return who.session or request.cookies.get(FORM_COOKIE, "")
