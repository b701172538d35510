"""The one place where commands print: data on stdout, complaints and progress on stderr. What is printed is guarded.

Texts come from couriers, who write what they like. `runtime/printable.py` says what is shown as an escape. What rich
draws goes through `cli/terminal/console.py`, which guards in the same way.
"""

import argparse
import os
import sys
from typing import Any, Final, TextIO

import msgspec

from runtime.printable import printable, printable_json, printable_lines

LINE_SECONDS: Final = 5.0
"""How often it is said on stderr how far something is, where that is no terminal."""


class UnheardError(Exception):
    """Whoever read our output has had enough."""


def say(line: str) -> None:
    """Print a line of data."""
    _write(sys.stdout, printable(line))


def say_lines(text: str) -> None:
    """Print a text of our own that has several lines."""
    _write(sys.stdout, printable_lines(text))


def say_json(value: Any) -> None:
    """Print a JSON value, indented."""
    _write(sys.stdout, printable_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def say_json_line(value: Any) -> None:
    """Print a JSON value on one line."""
    _write(sys.stdout, printable_json(msgspec.json.encode(value).decode()))


def complain(line: str, *more: str) -> None:
    """Say what is wrong, in a line, or in several."""
    _write(sys.stderr, f"waybill: {printable(line)}")
    for each in more:
        _write(sys.stderr, printable(each))


def progress_json(value: Any) -> None:
    """Say how far it is, as a JSON value on one line of stderr."""
    _write(sys.stderr, printable_json(msgspec.json.encode(value).decode()))


def ask(question: str) -> str:
    """Ask on stderr, and return the line that is answered."""
    _write(sys.stderr, f"{printable(question)} ", end="")
    return sys.stdin.readline().strip()


def can_be_answered() -> bool:
    """Whether somebody may answer."""
    return sys.stdin.isatty()


def is_watched() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def progress_is_watched() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr.isatty()


def unheard(stream: TextIO | None = None) -> None:
    """Lead nowhere what is still to be printed, on stdout by default."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), (stream or sys.stdout).fileno())


class Parser(argparse.ArgumentParser):
    """A parser of the command line that prints as all commands do."""

    def _print_message(self, message: str, file: Any = None) -> None:
        if message:
            _write(sys.stderr if file is None else file, printable_lines(message), end="")


def _write(stream: TextIO, text: str, end: str = "\n") -> None:
    try:
        stream.write(f"{text}{end}")
        stream.flush()
    except BrokenPipeError as error:
        if stream is sys.stdout:
            raise UnheardError from error
        unheard(stream)  # nobody is left to complain to
