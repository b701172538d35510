"""Whether a webhook shows an accepted secret: in a header, compared in constant time with every one."""

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from schemas.couriers.base import Credentials

DIGEST_PREFIX: Final = "sha256:"
"""Marks an accepted secret of which only the digest is kept."""


class Verifier(msgspec.Struct, frozen=True):
    """The secrets that one courier may show: in `header`, behind `scheme`, with their SHA-256 in `digests`."""

    header: str
    scheme: str | None
    digests: tuple[bytes, ...]

    @property
    def challenge(self) -> str:
        """The authentication scheme, for `WWW-Authenticate`. A plain header has no registered one."""
        return self.scheme or "ApiKey"


def make_verifier(credentials: Credentials, header: str, secrets: Iterable[str]) -> Verifier:
    """Make a verifier of a courier's credentials, the header in force, and the secrets or `sha256:<hex>` accepted."""
    return Verifier(header, credentials.scheme, tuple(_digest_of(secret) for secret in secrets))


def verify(verifier: Verifier, presented: Sequence[str]) -> bool:
    """Whether the values of the verifier's header, all that came, show an accepted secret.

    A header that is missing, came twice or is not ASCII, and a wrong scheme, are refused like a wrong secret. The
    time taken does not tell how much of a secret was right, nor which one.
    """
    secret = _secret(verifier.scheme, presented[0]) if len(presented) == 1 else None
    shown = hashlib.sha256((secret or "").encode()).digest()
    same = [hmac.compare_digest(shown, digest) for digest in verifier.digests]
    return secret is not None and sum(same) > 0  # `any` would end at the one that fits


def _secret(scheme: str | None, value: str) -> str | None:
    if not value.isascii():
        return None
    if scheme is None:
        return value or None
    named, _, secret = value.partition(" ")
    return secret.strip(" ") or None if named.lower() == scheme.lower() else None


def _digest_of(secret: str) -> bytes:
    if secret.startswith(DIGEST_PREFIX):
        return bytes.fromhex(secret.removeprefix(DIGEST_PREFIX))
    return hashlib.sha256(secret.encode()).digest()
