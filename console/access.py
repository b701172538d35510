"""Who may look: how a request shows who sends it, and what their roles let them do. Pure."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

import msgspec

from runtime.settings import PREFIX, Settings
from runtime.values import MAX_USER_CHARS, Network, is_loopback


class Role(StrEnum):
    """What somebody may do. Whoever has any of these may look."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    PERSONAL = "personal"
    """Sees personal data unmasked; each such look is kept in `operator_log`."""


class Access(StrEnum):
    """How the console knows who sends a request."""

    NONE = "none"
    PROXY = "proxy"
    FILE = "file"


class Who(msgspec.Struct, frozen=True):
    """Who sends a request. `session` is their cookie's text, where they logged in."""

    name: str
    roles: frozenset[Role]
    session: str | None = None

    @property
    def sees_personal(self) -> bool:
        """Whether personal data may be shown unmasked."""
        return Role.PERSONAL in self.roles


class RefusedError(Exception):
    """The request does not show that its sender may look. The text says why."""


EVERYTHING: Final = frozenset(Role)
"""The roles of whoever is on this machine: the commands let them do the same."""


def contradictions(settings: Settings) -> list[str]:
    """Say which settings do not go together: a line for each."""
    here = is_loopback(settings.console_host)
    told = []
    if settings.console_access == Access.NONE and not here:
        told.append(
            f"{PREFIX}CONSOLE_HOST must be 127.0.0.1 or ::1 where {PREFIX}CONSOLE_ACCESS is none: nobody is asked who "
            "they are; set it to proxy or file"
        )
    if settings.console_access == Access.PROXY and not settings.console_proxy_peers:
        told.append(f"{PREFIX}CONSOLE_PROXY_PEERS must be set where {PREFIX}CONSOLE_ACCESS is proxy")
    groups = (settings.console_viewer_groups, settings.console_operator_groups, settings.console_personal_groups)
    if settings.console_access == Access.PROXY and not any(groups):
        told.append(f"{PREFIX}CONSOLE_VIEWER_GROUPS must be set where {PREFIX}CONSOLE_ACCESS is proxy")
    if settings.console_access == Access.FILE and not (here or settings.console_tls):
        told.append(
            f"{PREFIX}CONSOLE_TLS must be 1, and be true, where {PREFIX}CONSOLE_ACCESS is file and "
            f"{PREFIX}CONSOLE_HOST is no loopback address: a password must not travel unencrypted"
        )
    if settings.console_access == Access.FILE and not settings.console_users:
        told.append(f"{PREFIX}CONSOLE_USERS_FILE must list somebody where {PREFIX}CONSOLE_ACCESS is file")
    return told


def is_local_name(host: str) -> bool:
    """Whether a Host header names this machine by a loopback name.

    Another name that leads here would let a page from elsewhere, opened in a browser of this machine, read ours.
    """
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and is_loopback(name)


def is_own_origin(headers: Mapping[str, str], *, tls: bool) -> bool:
    """Whether a request that changes something was sent by a page of ours, as a browser says it.

    `Sec-Fetch-Site`, where it stands, must say so; `Origin` must stand and be of the host that is asked, and where the
    console is reached over `tls` only, of a page that came over it: another can be anybody's on the way.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None and site != "same-origin":
        return False
    try:
        origin = urlsplit(headers.get("Origin", ""))
    except ValueError:
        return False
    return (
        origin.scheme in ({"https"} if tls else {"http", "https"})
        and bool(origin.netloc)
        and origin.netloc == headers.get("Host")
    )


def is_own_look(headers: Mapping[str, str]) -> bool:
    """Whether a request for personal data comes from a page of ours, or from no page at all."""
    return headers.get("Sec-Fetch-Site", "none") in {"same-origin", "none"}


def named_by_proxy(settings: Settings, peer: str | None, users: Sequence[str], groups: Sequence[str]) -> Who:
    """Return whom a proxy names: `users` and `groups` are the values of the two headers, `peer` is who connects.

    Raises:
        RefusedError: the peer is not listed, names nobody or several, or somebody without a role.

    """
    if not _is_listed(peer, settings.console_proxy_peers):
        raise RefusedError("this console is reached through its proxy only")
    if len(users) != 1 or len(groups) > 1:
        raise RefusedError("the proxy must name one person")
    name = users[0].strip(" \t")  # another space makes another name of it
    if not name or len(name) > MAX_USER_CHARS or not name.isprintable():
        raise RefusedError("the proxy must name one person")
    member = {group.strip() for text in groups for group in text.split(",")}
    lists = {
        Role.VIEWER: settings.console_viewer_groups,
        Role.OPERATOR: settings.console_operator_groups,
        Role.PERSONAL: settings.console_personal_groups,
    }
    roles = frozenset(role for role, wanted in lists.items() if member.intersection(wanted))
    if not roles:
        raise RefusedError("you are in no group that may look")
    return Who(name, roles)


def roles_of(names: Collection[str]) -> frozenset[Role]:
    """Return roles by their names."""
    return frozenset(map(Role, names))


def _is_listed(peer: str | None, networks: Sequence[Network]) -> bool:
    try:
        address = ip_address((peer or "").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)
