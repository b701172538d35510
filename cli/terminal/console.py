"""Where rich draws tables and bars: a console whose every text is guarded, as `cli/terminal/output.py` does."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from runtime.printable import printable_lines


class GuardedConsole(Console):
    """A console that shows as escapes what would command a terminal.

    A line feed in a text given to it begins a new line: give it `printable` texts.
    """

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Guard every piece of text. What moves the cursor comes from rich itself."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable_lines(segment.text), segment.style)


def console(*, stderr: bool = False, width: int | None = None) -> GuardedConsole:
    """Return what draws on stdout, or on stderr."""
    return GuardedConsole(stderr=stderr, width=width, highlight=False)
