"""How far a replay, or the plan of one, is."""

from collections.abc import Callable
from typing import Final

import msgspec

PLANNING: Final = "planning"
"""What is being done while a plan is made."""


class Progress(msgspec.Struct, frozen=True):
    """How far a job is, or a plan, which is none. Of `offsets`, `dealt` are dealt with.

    `pending` records are appended and not applied yet.
    """

    job: str | None
    doing: str
    dealt: int
    offsets: int
    appended: int
    passed_over: int
    pending: int = 0


Tell = Callable[[Progress], None]
"""Takes how far it is."""
