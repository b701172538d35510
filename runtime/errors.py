"""What can go wrong while a process starts or runs one of its commands."""


class SetupError(Exception):
    """Something around this process is not as it must be. The text tells the operator what, free of secrets."""


class SettingsError(SetupError):
    """Settings are wrong. `problems` holds one line for each wrong value."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        """Keep the lines."""
        super().__init__("\n".join(problems))
        self.problems = problems


class UnreachableError(SetupError):
    """A broker or a database does not answer, or not in time."""


class DeniedError(UnreachableError):
    """A broker or a database does not let us in, or is not who it should be. Only an operator can mend it."""
