"""When too many records give no observation. Pure.

After a bad deploy every record may look unreadable. Then the partition stops before the topic is emptied into the
dead letters.
"""

from collections.abc import Sequence

import msgspec


class Window(msgspec.Struct, frozen=True):
    """The newest batches that together hold at least a window's records: of each how many, and how many were dead."""

    batches: Sequence[tuple[int, int]] = ()

    @property
    def records(self) -> int:
        """How many records it holds."""
        return sum(records for records, _ in self.batches)

    @property
    def dead(self) -> int:
        """How many of them gave no observation."""
        return sum(dead for _, dead in self.batches)


def slid(window: Window, records: int, dead: int, size: int) -> Window:
    """Take one more batch; let go of old ones that are not needed for `size` records."""
    batches = [*window.batches, (records, dead)]
    held = window.records + records
    while held - batches[0][0] >= size:
        held -= batches.pop(0)[0]
    return Window(batches)


def is_flood(window: Window, size: int, max_ratio: float) -> bool:
    """Whether more than `max_ratio` of a full window's records gave no observation. A window not full never is one."""
    return window.records >= size and window.dead > max_ratio * window.records
