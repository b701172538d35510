"""What may go wrong in an operator's command."""


class OperatorError(Exception):
    """The command cannot be done as it was told. The text says why, and what may be done instead."""
