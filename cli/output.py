"""What commands print: data on stdout, complaints on stderr."""

import sys
from typing import Any

import msgspec


def say(line: str) -> None:
    """Print a line of data."""
    sys.stdout.write(f"{line}\n")


def say_json(value: Any) -> None:
    """Print a JSON value, indented."""
    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def complain(line: str) -> None:
    """Say what is wrong, in a line."""
    sys.stderr.write(f"waybill: {line}\n")
