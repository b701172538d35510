"""The page of all commands, written from the parser that reads them: `docs/commands.md`."""

import argparse
import re
from collections.abc import Iterator
from typing import Final

from cli.exit_codes import DONE, FAILED, USAGE
from cli.main import COMMANDS, command_line

FILE: Final = "docs/commands.md"

HEAD: Final = f"""# Commands

What `waybill COMMAND --help` says of each. Every command takes its settings from the environment
([Settings](settings.md)) and ends with {DONE} when it is done, {FAILED} when it failed, {USAGE} for wrong usage or
settings. `--json` prints for programs what is otherwise printed for people. Written by `make schemas` from
`cli/commands/`.

"""


def page() -> str:
    """Return the page."""
    return HEAD + "\n".join(_sections(command_line(), "waybill", 2, COMMANDS)) + "\n"


def _sections(parser: argparse.ArgumentParser, name: str, depth: int, meanings: dict[str, str]) -> Iterator[str]:
    for word, below in _verbs(parser).items():
        meaning = meanings.get(word, "")
        yield f"{'#' * depth} {name} {word}\n"
        yield f"{meaning[:1].upper()}{meaning[1:]}.\n"
        verbs = _verbs(below)
        if verbs:
            yield from _sections(below, f"{name} {word}", depth + 1, _meanings(below))
        else:
            yield from _arguments(below)


def _arguments(parser: argparse.ArgumentParser) -> Iterator[str]:
    yield f"`{' '.join(parser.format_usage().removeprefix('usage: ').split())}`\n"
    rows = [action for action in parser._actions if action.help and action.dest != "help"]
    if rows:
        yield "| argument | meaning |\n|---|---|"
        yield from (f"| {_name(action)} | {_text(action, parser)} |" for action in rows)
        yield ""


def _name(action: argparse.Action) -> str:
    taken = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    value = " ".join(taken) if isinstance(taken, tuple) else taken
    names = [f"{option} {value}".strip() for option in action.option_strings] or [value]
    return ", ".join(f"`{name}`" for name in names)


def _text(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    expanded = (action.help or "") % {**vars(action), "prog": parser.prog}
    return re.sub(r"\s+", " ", expanded).replace("|", r"\|")


def _verbs(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {word: below for choices in _choosing(parser) for word, below in choices.choices.items()}


def _meanings(parser: argparse.ArgumentParser) -> dict[str, str]:
    return {choice.dest: choice.help or "" for choices in _choosing(parser) for choice in choices._get_subactions()}


def _choosing(parser: argparse.ArgumentParser) -> Iterator["argparse._SubParsersAction[argparse.ArgumentParser]"]:
    return (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
