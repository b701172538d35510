"""What can go wrong while couriers are asked."""

from runtime.errors import SetupError


class ReconcileError(SetupError):
    """The couriers cannot be asked. The text says why, free of secrets."""


class AlreadyAskingError(ReconcileError):
    """Another process asks for this account."""


class TooLongError(ReconcileError):
    """What the report is to tell of cannot be read in time."""


class AllRefusedError(ReconcileError):
    """Every courier refuses our credentials. Only an operator can mend it."""


class NotNowError(Exception):
    """A courier is not to be asked for longer than we would wait, or we are to stop: this courier's turn is over."""
