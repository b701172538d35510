"""What can go wrong with the services of a laptop and of the tests."""


class DevstackError(Exception):
    """A service cannot be had. The message is one for the person at the terminal."""


class MissingToolError(DevstackError):
    """No way to run a service on this machine. The message says what to install."""


class InUseError(DevstackError):
    """Another run holds the data directory."""


class StartError(DevstackError):
    """A program ended or stayed silent instead of getting ready. The message carries the end of its log."""


class ToolError(DevstackError):
    """One of Kafka's own command line tools failed. The message carries its output."""
