"""What can go wrong while processing, told apart by what to do about it."""

from collections.abc import Collection

from processor.core.offsets import Span
from schemas.vocabulary import DeadLetterReason


class ProcessorError(Exception):
    """The root of the processor's errors."""


class ClaimLostError(ProcessorError):
    """Claim again: somebody else writes this partition now, or a commit's outcome is unknown."""


class GapError(ClaimLostError):
    """Claim again and look at the log: it gives no record between two offsets, and nothing explains why."""

    def __init__(self, gap: Span) -> None:
        """Say where."""
        super().__init__(f"the log gives no record from offset {gap.start} up to {gap.end}")
        self.gap = gap


class CulpritError(ProcessorError):
    """Cut the batch in two: one record in it cannot be applied, and never will. It becomes a dead letter.

    `reason` is the dead letter's.
    """

    reason = DeadLetterReason.UNSTORABLE


class UnstorableError(CulpritError):
    """The database refuses a value."""


class UnplannableError(CulpritError):
    """Planning failed in a way nobody foresaw: a fault of ours. `__cause__` tells where."""

    reason = DeadLetterReason.UNKNOWN_SHAPE


class DeadLetterLimitError(ProcessorError):
    """Hold couriers back: too many of their webhooks would be dead letters. Nothing of the batch was stored."""

    def __init__(self, couriers: Collection[str], why: str) -> None:
        """Keep whom, and a sentence for the operator."""
        super().__init__(why)
        self.couriers = frozenset(couriers)


class HaltError(ProcessorError):
    """Stop this partition: going on would skip or repeat something. An operator must look, then start us again."""


class StoredRowError(HaltError):
    """Something stored cannot be read by this version. Nothing that depends on it may be decided."""

    def __init__(self, what: str, why: Exception) -> None:
        """Say what it is and how it is mended. Of why only the kind and the place: its words may quote the row."""
        super().__init__(
            f"{what} is stored in a form that this version of Waybill cannot read ({_kind(why)}): start the version "
            "that wrote it, or a newer one, again; if somebody changed the row by hand, put it back from a backup"
        )


def _kind(error: Exception) -> str:
    """Say which kind of error it is, and msgspec's path to the place: that quotes names of fields, never values."""
    _, found, path = str(error).rpartition(" - at `")
    return f"{type(error).__name__} at {path.rstrip('`')}" if found else type(error).__name__


class MendableError(HaltError):
    """Stop this partition until `waybill recover` has mended it. Then go on without a restart."""


class RecoveryError(ProcessorError):
    """A recovery cannot go on. Running it again goes on where it stopped."""
