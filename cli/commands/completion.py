"""`waybill completion`: what a shell needs to complete `waybill` commands, from the parser itself."""

import argparse
from typing import Final

import shtab

from cli.exit_codes import DONE
from cli.main import command_line
from cli.terminal.output import say_lines

SHELLS: Final = ("bash", "zsh", "fish")

_HOW: Final = """\
bash:  waybill completion bash > ~/.local/share/bash-completion/completions/waybill
zsh:   waybill completion zsh > a directory of $fpath, as _waybill
fish:  waybill completion fish > ~/.config/fish/completions/waybill.fish
"""


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.description, parser.formatter_class = _HOW, argparse.RawDescriptionHelpFormatter
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(command=_completion)


def _completion(arguments: argparse.Namespace) -> int:
    say_lines(shtab.complete(command_line(), shell=arguments.shell))
    return DONE
