"""What can go wrong while processing, told apart by what to do about it."""

from processor.offsets import Span


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


class UnstorableError(ProcessorError):
    """Cut the batch in two: the database refuses a value in it, and always will."""


class HaltError(ProcessorError):
    """Stop this partition: going on would skip or repeat something. An operator must look, then start us again."""


class MendableError(HaltError):
    """Stop this partition until `waybill recover` has mended it. Then go on without a restart."""


class RecoveryError(ProcessorError):
    """A recovery cannot go on. Running it again goes on where it stopped."""
