"""The environment of processes that tests start."""

import os
from collections.abc import Mapping
from typing import Final

_OURS: Final = {**os.environ, "SSL_CERT_FILE": os.devnull}
"""As it was in the beginning: a command that a test runs in its own process has `os.environ` for itself meanwhile, and
another test's child, started beside it, must not see its settings.

No child reads the authorities that this machine trusts, which takes a tenth of its start: tests have their own."""


def environ_with(settings: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a child that has these settings."""
    return _OURS | dict(settings)
