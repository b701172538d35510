"""What each courier's samples and transition tables come to, by hand: a module for each courier.

| name | by | what |
|---|---|---|
| `ASKED_FOR` | sample | of those that answer a pull: the reference asked for |
| `SAID` | sample | each observation in it |
| `DETAILS` | sample | the details of the newest observation (the pictures apart), and the pictures |
| `AT_ONCE` | service | `from: to to`: what may follow at once |
| `FINAL`, `REOPENED` | service | the final statuses; those of them with an arrow of their own |
| `JUMPS` | service | `from > the statuses jumped over > to` |
| `ILLEGAL` | service | `from > to` |
| `OPTIONS` | service | the options of its `Lifecycle` that are set |
"""

from importlib import import_module
from typing import Any

from schemas.couriers import COURIERS

MODULES = {courier: import_module(f"{__name__}.{courier}") for courier in sorted(COURIERS)}


def expected(name: str) -> dict[str, Any]:
    """Return the table of this name, of all couriers."""
    return {key: value for module in MODULES.values() for key, value in getattr(module, name).items()}
