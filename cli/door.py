"""The door as commands post to it: where it is, and what a courier shows there."""

from collections.abc import Iterable
from typing import Final

from runtime.settings import Settings
from schemas.couriers import COURIERS

DIGEST: Final = "sha256:"

_ANY_ADDRESS: Final = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104  (read, not listened on)
"""Where to reach a service that listens on every address."""


def reachable(host: str) -> str:
    """Return where to reach a service that listens on a host."""
    return _ANY_ADDRESS.get(host, host)


def door_url(settings: Settings) -> str:
    """Return the door's URL."""
    return f"http://{reachable(settings.ingest_host)}:{settings.ingest_port}"


def posting_headers(settings: Settings, courier: str, secret: str) -> dict[str, str]:
    """Return the headers that a courier posts with."""
    scheme = COURIERS[courier].credentials.scheme
    return {
        settings.credential_headers[courier]: f"{scheme} {secret}" if scheme else secret,
        "Content-Type": "application/json",
    }


def plain_secret(entries: Iterable[str]) -> str | None:
    """Return the first of the accepted secrets that can be shown; None: there are digests at most."""
    return next((entry for entry in entries if not entry.startswith(DIGEST)), None)
