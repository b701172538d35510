"""`waybill completion`: what a shell needs to complete `waybill` commands, from the parser itself."""

import argparse
from collections.abc import Callable
from typing import Any, Final

from cli.starting import DONE
from cli.terminal.output import say_lines

SHELLS: Final = ("bash", "zsh", "fish")


def offer(commands: Any, parser: argparse.ArgumentParser) -> None:
    """Add the command. It completes what `parser` offers when it runs."""
    completion = commands.add_parser(
        "completion", help="print a script that completes these commands", description=_HOW, formatter_class=_AsWritten
    )
    completion.add_argument("shell", choices=SHELLS)
    completion.set_defaults(command=_printing(parser))


_AsWritten: Final = argparse.RawDescriptionHelpFormatter

_HOW: Final = """\
bash:  waybill completion bash > ~/.local/share/bash-completion/completions/waybill
zsh:   waybill completion zsh > a directory of $fpath, as _waybill
fish:  waybill completion fish > ~/.config/fish/completions/waybill.fish
"""


def _printing(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int]:
    def completion(arguments: argparse.Namespace) -> int:
        import shtab  # noqa: PLC0415

        say_lines(shtab.complete(parser, shell=arguments.shell))
        return DONE

    return completion
