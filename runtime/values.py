"""How settings' values are read from text, and what of them may be shown.

Every reader raises ValueError with the rest of the sentence "<the setting's name> …", free of secrets.
"""

import re
from collections.abc import Callable
from datetime import timedelta, tzinfo
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import msgspec

from schemas.records import ACCOUNT

MASK: Final = "********"

MAX_PREFIX_CHARS: Final = 200
"""Kafka's names have at most 249 characters; ours need 24 of them."""

MAX_TRANSACTION_TIMEOUT: Final = timedelta(minutes=15)
"""A broker's default `transaction.max.timeout.ms`: it refuses producers that ask for more."""

SESSION_TIMEOUTS: Final = (timedelta(seconds=1), timedelta(minutes=30))
"""Below the first a busy event loop is taken for a dead process, and its partitions wander about; the second is a
broker's default `group.max.session.timeout.ms`."""

MAX_SILENCE: Final = timedelta(days=365)
"""No parcel is under way for so long. Back-off doubles it without leaving the calendar."""

SESSION_KEY_CHARS: Final = 32
"""The least a key that signs sessions has: as many random characters cannot be guessed."""

MAX_USER_CHARS: Final = 200
"""The longest name of somebody who uses the console; it is kept with what they did."""

ROLES: Final = ("viewer", "operator", "personal")
"""What somebody may do in the console: look; act, and look; see personal data, and look."""

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", re.ASCII)
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_KAFKA_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_ADDRESS: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[^\s:,/@\[\]]+):(\d{1,5})", re.ASCII)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_API_SECRET: Final = re.compile(r"[!-~]+", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def duration(text: str) -> timedelta:
    """Read a duration: `500ms`, `15s`, `2m`, `6h`, `3d`. Longer than nothing."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError("must be a duration such as 500ms, 15s, 2m, 6h or 3d")
    try:
        length = float(match[1]) * _UNITS[match[2]]
    except OverflowError as error:
        raise ValueError("is too long a duration") from error
    if length <= timedelta(0):
        raise ValueError("must be longer than nothing")
    return length


def silence(text: str) -> timedelta:
    """Read how long a shipment may be silent: a year at most."""
    length = duration(text)
    if length > MAX_SILENCE:
        raise ValueError("must be 365d at most")
    return length


def transaction_timeout(text: str) -> timedelta:
    """Read a duration that brokers accept for transactions."""
    length = duration(text)
    if not timedelta(seconds=1) <= length <= MAX_TRANSACTION_TIMEOUT:
        raise ValueError("must lie between 1s and 15m")
    return length


def session_timeout(text: str) -> timedelta:
    """Read a duration for which a group may miss a member."""
    length = duration(text)
    shortest, longest = SESSION_TIMEOUTS
    if not shortest <= length <= longest:
        raise ValueError("must lie between 1s and 30m")
    return length


def whole(least: int, most: int) -> Callable[[str], int]:
    """Make a reader of whole numbers from `least` to `most`."""

    def parse(text: str) -> int:
        stripped = text.strip()
        if not re.fullmatch(r"\d{1,12}", stripped, re.ASCII) or not least <= int(stripped) <= most:
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(stripped)

    return parse


def ratio(text: str) -> float:
    """Read a share from 0 to 1."""
    stripped = text.strip()
    if not re.fullmatch(r"0|1|[01]?\.\d{1,9}", stripped, re.ASCII) or float(stripped) > 1:
        raise ValueError("must be a number from 0 to 1")
    return float(stripped)


def text(text: str) -> str:
    """Read a text that must not be empty."""
    if not text.strip():
        raise ValueError("must not be empty")
    return text.strip()


def text_or_none(text: str) -> str | None:
    """Read a text; an empty one is none."""
    return text.strip() or None


def password_or_none(text: str) -> str | None:
    """Read a password as it stands, white space included; an empty one is none."""
    return text or None


def one_of(*words: str, upper: bool = False) -> Callable[[str], str]:
    """Make a reader of one of these words, written in any case."""

    def parse(text: str) -> str:
        word = text.strip().upper() if upper else text.strip().lower()
        if word not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return word

    return parse


def addresses(entries: tuple[str, ...]) -> str:
    """Read a list of host:port, one at least, into Kafka's form."""
    if not entries:
        raise ValueError("must name at least one host:port")
    for at, entry in enumerate(entries, 1):
        match = _ADDRESS.fullmatch(entry)
        if match is None or not 0 < int(match[1]) <= 65535:
            raise ValueError(f"must list host:port, and entry {at} is not one")  # it may hold a password
    return ",".join(entries)


def database_url(text: str) -> str:
    """Read the address of a PostgreSQL database.

    A password with an unescaped / ? or # would end in the parts behind the host, which are shown: it is refused.
    """
    complaint = "must look like postgresql://user:password@host:5432/database, with / ? # and @ in it percent-encoded"
    try:
        parts = urlsplit(text.strip())
        usable = parts.scheme in ("postgresql", "postgres") and (parts.port is None or parts.port > 0)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise ValueError(complaint) from error
    rest = (parts.path, *(text for name, value in pairs if not _is_password(name) for text in (name, value)))
    if not usable or parts.fragment or any("@" in text for text in rest) or not (parts.path.strip("/") or parts.query):
        raise ValueError(complaint)
    return text.strip()


Network = IPv4Network | IPv6Network
"""Addresses that share their first bits; one address is a network of its own."""


class ConsoleUser(msgspec.Struct, frozen=True):
    """Somebody who may log in to the console: name, roles, and the argon2id hash of the password."""

    name: str
    roles: frozenset[str]
    hash: str


def flag(text: str) -> bool:
    """Read a choice: 1 for yes, 0 for no."""
    if text.strip() not in {"0", "1"}:
        raise ValueError("must be 0 or 1")
    return text.strip() == "1"


def names(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Read a list of names; it may be empty."""
    return entries


def networks(entries: tuple[str, ...]) -> tuple[Network, ...]:
    """Read a list of addresses and networks, such as 10.0.0.7, 10.1.0.0/16 or fd00::/8; it may be empty."""
    try:
        return tuple(ip_network(entry) for entry in entries)
    except ValueError as error:
        raise ValueError(f"must list addresses or networks such as 10.1.0.0/16: {error}") from error


def session_key(text: str) -> str | None:
    """Read a key that signs sessions; an empty one is none."""
    if text and len(text) < SESSION_KEY_CHARS:
        raise ValueError(f"must have at least {SESSION_KEY_CHARS} characters")
    return text or None


def console_users(entries: tuple[str, ...]) -> tuple[ConsoleUser, ...]:
    """Read who may log in to the console: `name:role+role:hash`, each name once."""
    users = tuple(_console_user(at, entry) for at, entry in enumerate(entries, 1))
    if len({user.name for user in users}) < len(users):
        raise ValueError("names somebody twice")
    return users


def _console_user(at: int, entry: str) -> ConsoleUser:
    parts = entry.split(":")
    if len(parts) != 3 or not parts[2].startswith("$argon2id$"):
        raise ValueError(f"entry {at} must be name:role+role:$argon2id$… (give a file: a hash holds commas)")
    name, roles, hashed = parts
    if not name or not name.isprintable() or len(name) > MAX_USER_CHARS:
        raise ValueError(f"entry {at} must begin with a name of at most {MAX_USER_CHARS} characters")
    if not set(roles.split("+")) <= set(ROLES):
        raise ValueError(f"entry {at} must give roles of {', '.join(ROLES)}")
    return ConsoleUser(name, frozenset(roles.split("+")), hashed)


def mask_console_user(entry: str) -> str:
    """Hide the hash of a console's user."""
    return f"{entry.rpartition(':')[0]}:{MASK}" if entry else ""


def api_url(text: str) -> str | None:
    """Read the address of a courier's API, without the paths; an empty one is none.

    Secrets and personal data go there, so they are encrypted on every wire that is not this machine's own.
    """
    stripped = text.strip().rstrip("/")
    if not stripped:
        return None
    complaint = "must look like https://api.example.com, without user, password, ? and #"
    try:
        parts = urlsplit(stripped)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(complaint) from error
    if parts.scheme not in {"http", "https"} or not host or set(stripped) & set("@?#\\") or not stripped.isascii():
        raise ValueError(complaint)
    if not stripped.isprintable() or " " in stripped:
        raise ValueError(complaint)
    if parts.scheme == "http" and not is_loopback(host):
        raise ValueError("must begin with https://: only on this machine itself may a secret travel unencrypted")
    return stripped


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def api_secret(text: str) -> str | None:
    """Read what a courier's API wants to be shown; an empty one is none."""
    stripped = text.strip()
    if stripped and not _API_SECRET.fullmatch(stripped):
        raise ValueError("may hold visible ASCII characters only, as it stands in a header")
    return stripped or None


def account(text: str) -> str | None:
    """Read a merchant's account; an empty one is none."""
    stripped = text.strip()
    if stripped and not ACCOUNT.fullmatch(stripped):
        raise ValueError("may have letters, digits, - and _ only, at most 64: it becomes part of the shipment_id")
    return stripped or None


def topic_prefix(text: str) -> str:
    """Read a prefix of Kafka's names; it may be empty."""
    stripped = text.strip()
    if stripped and (not _KAFKA_NAME.fullmatch(stripped) or len(stripped) > MAX_PREFIX_CHARS):
        raise ValueError(f"may have letters, digits, '.', '_' and '-' only, at most {MAX_PREFIX_CHARS}")
    return stripped


def group(text: str) -> str:
    """Read the name of a consumer group."""
    if not topic_prefix(text):
        raise ValueError("must not be empty")
    return text.strip()


def header_name(text: str) -> str:
    """Read the name of an HTTP header."""
    if not _HEADER_NAME.fullmatch(text.strip()):
        raise ValueError("must be the name of an HTTP header")
    return text.strip()


def zone(text: str) -> tzinfo:
    """Read a time zone's name."""
    try:
        return ZoneInfo(text.strip())
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("must be a zone of the time zone database, such as Asia/Jakarta or UTC") from error


def secrets(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Read the secrets a courier may show: texts, or `sha256:<hex>`, written in lower case."""
    return tuple(_secret(at, entry) for at, entry in enumerate(entries, 1))


def _secret(at: int, entry: str) -> str:
    if _CONTROL.search(entry):
        raise ValueError(f"entry {at} holds a control character")
    if not entry.lower().startswith("sha256:"):
        return entry
    if not _DIGEST.fullmatch(entry.lower()):
        raise ValueError(f"entry {at} must have 64 hexadecimal digits after sha256:")
    return entry.lower()


def mask_url(url: str) -> str:
    """Hide the password of a URL, wherever it stands."""
    parts = urlsplit(url)
    netloc = parts.netloc
    if "@" in netloc:
        user, _, host = netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        netloc = f"{name}{colon}{MASK if colon else ''}@{host}"
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    if any(_is_password(name + value) for name, value in pairs):
        shown = [(name, MASK if _is_password(name + value) else value) for name, value in pairs]
        parts = parts._replace(query=urlencode(shown, safe="*/"))
    return urlunsplit(parts._replace(netloc=netloc))


def _is_password(name: str) -> bool:
    return "password" in name.lower()


def hide(text: str) -> str:
    """Hide a secret, but not that there is one."""
    return MASK if text else ""
