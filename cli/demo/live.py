"""The live view of `waybill up`: each event as it is emitted, a summary, and what to try. Works in a pipe too."""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from cli.demo.scenario import Mismatch, Play, Seen
from cli.demo.surroundings import Surroundings
from cli.terminal.console import GuardedConsole
from cli.terminal.console import console as new_console
from cli.terminal.output import is_watched
from runtime.printable import printable
from schemas.couriers import COURIERS
from schemas.events import Anomaly, Event
from schemas.times import format_time
from schemas.vocabulary import PHASES, AnomalyKind, EventType, Phase, Status

PIPE_WIDTH: Final = 120
"""The summary's width where there is no terminal."""

STYLES: Final[dict[Phase, str]] = {
    Phase.PRE_TRANSIT: "cyan",
    Phase.IN_TRANSIT: "blue",
    Phase.EXCEPTION: "yellow",
    Phase.DELIVERED: "green",
    Phase.RETURNING: "magenta",
    Phase.RETURNED: "magenta",
    Phase.CANCELLED: "red",
    Phase.CLOSED: "red",
}

WORDS: Final[dict[EventType, str]] = {
    EventType.UPDATED: "update",
    EventType.HISTORY_ADDED: "late",
    EventType.CORRECTED: "correction",
    EventType.STATUS_CHANGED: "",
}
"""What stands under "transition" where an event has none."""

SHIPMENT_WIDTH: Final = 31
MOVE_WIDTH: Final = 33
WORD_WIDTH: Final = 12

LOOK: Final = ".venv/bin/waybill shipment list"


class Live:
    """Writes to standard output."""

    def __init__(self, console: GuardedConsole | None = None) -> None:
        """Use the given console, or make one."""
        self._console = console or new_console(width=None if is_watched() else PIPE_WIDTH)

    def line(self, text: str = "", style: str = "") -> None:
        """Write a line as it is, however long."""
        self._console.print(Text(printable(text), style), soft_wrap=True)

    def head(self, webhooks: int, stories: int) -> None:
        """Write the columns' names."""
        self.line()
        self.line(f"Playing {webhooks} webhooks of {stories} stories through the door; each event as it is emitted:")
        self.line(
            f"{'time':8}  {'shipment':{SHIPMENT_WIDTH}}  {'from → to':{MOVE_WIDTH}}  "
            f"{'transition':{WORD_WIDTH}}  attempt",
            "bold",
        )

    def note(self, about: str, text: str) -> None:
        """Write what is about to happen."""
        self.line(f"{'':8}  {about:{SHIPMENT_WIDTH}}  ({text})", "dim italic")

    def event(self, event: Event) -> None:
        """Write an event."""
        style = STYLES[event.phase]
        text = Text(f"{_clock(event.recorded_at)}  {printable(event.shipment_id):{SHIPMENT_WIDTH}}  ")
        text.append(_padded(_move(event), MOVE_WIDTH))
        text.append(f"  {event.transition or WORDS[event.type]:{WORD_WIDTH}}", f"bold {style}")
        text.append(f"  {event.attempt}")
        if event.skipped:
            text.append(f"  over {', '.join(event.skipped)}", "dim")
        if event.observed:
            text.append(f"  {printable(event.observed.courier_status)} of {_clock(event.observed.occurred_at)}", "dim")
        self._console.print(text, soft_wrap=True)

    def anomaly(self, anomaly: Anomaly) -> None:
        """Write an anomaly."""
        text = Text(f"{_clock(anomaly.recorded_at)}  {printable(anomaly.shipment_id):{SHIPMENT_WIDTH}}  ")
        text.append(_padded(_coloured(anomaly.status, "stays "), MOVE_WIDTH))
        word = "refused" if anomaly.kind is AnomalyKind.ILLEGAL_TRANSITION else "anomaly"
        text.append(f"  {word:{WORD_WIDTH}}", "bold red")
        text.append(f"     {printable(anomaly.courier_status)}: {anomaly.kind}", "dim")
        self._console.print(text, soft_wrap=True)

    def left_out(self, count: int) -> None:
        """Write how many events and anomalies were too many to be shown."""
        self.line(f"{'':8}  … and {count} more", "dim")

    def summary(self, play: Play, seen: Mapping[str, Seen], differences: Sequence[Mismatch]) -> None:
        """Write a row for each story, the totals, and what is not as expected."""
        wrong = {difference.shipment_id for difference in differences}
        table = Table("story", "webhooks", "events", "anomalies", "ends as", "", title_justify="left")
        for title, shipments in play.shipments.items():
            of_story = [seen.get(name, Seen()) for name in shipments]
            table.add_row(
                title,
                str(sum(webhook.story.title == title for webhook in play.webhooks)),
                str(sum(len(shipment.events) for shipment in of_story)),
                str(sum(len(shipment.anomalies) for shipment in of_story) or ""),
                Text(", ").join(
                    _coloured(shipment.events[-1].status if shipment.events else None) for shipment in of_story
                ),
                Text("no", "bold red") if wrong.intersection(shipments) else Text("✓", "green"),
            )
        self.line()
        self._console.print(table)
        delays = sorted(delay for name in play.expected for delay in seen.get(name, Seen()).delays)
        if delays:
            half, all_ = (f"{delay * 1000:.0f} ms" for delay in (delays[len(delays) // 2], delays[-1]))
            self.line(f"From webhook to event: half within {half}, all within {all_}.")
        for difference in differences:
            self.line(str(difference), "red")
        total = len(play.expected)
        if differences:
            self.line(f"{len(wrong)} of {total} shipments are not as expected.", "bold red")
        else:
            self.line(f"All {total} shipments are as expected.", "bold green")

    def places(self, around: Surroundings, lines: Iterable[str], logs: Path) -> None:
        """Write what runs where."""
        self.line(f"Console: {around.console}", "bold")
        for line in (*lines, *around.notes):
            self.line(line)
        self.line(f"Door: {around.door}/webhooks/<courier>, couriers: {', '.join(around.settings.couriers_on)}")
        self.line("Metrics: " + ", ".join(f"{url}/metrics ({name})" for name, url in around.admins.items()))
        self.line(f"Logs: {logs}/*.log")

    def invitation(self, around: Surroundings, run: str, now: datetime) -> None:
        """Write a `curl` line for each courier, and how to look into it. A secret that the user set is not shown."""
        self.line()
        self.line("Everything runs until Ctrl-C. Try it; the events appear below:", "bold")
        for courier in sorted(COURIERS):
            options = " ".join(
                f"-H {shlex.quote(f'{name}: {value}')}" for name, value in around.shown_headers(courier).items()
            )
            posted = shlex.quote(COURIERS[courier].example.replace("RUN", run).replace("NOW", format_time(now)))
            self.line()
            self.line(f"curl -sS {around.door}/webhooks/{courier} {options} -d {posted}")
        self.line()
        self.line("The same line once more is a duplicate: accepted, and no event.", "dim")
        self.line()
        self.line(f"Look into it in a browser: {around.console}", "bold")
        self.line("Look into it from another terminal:", "bold")
        if around.own:
            self.line("export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in around.own.items()))
        self.line(f"{LOOK}   # then: shipment show S · tail --since earliest · lag · replay plan --all · audit")
        self.line()


def _move(event: Event) -> Text:
    if event.type is EventType.STATUS_CHANGED or event.previous_status is not event.status:
        return _coloured(event.status, f"{event.previous_status or '·'} → ")
    return _coloured(event.status, "stays ")


def _coloured(status: Status | None, before: str = "") -> Text:
    return Text().append(before, "dim").append(status or "nothing", STYLES[PHASES[status]] if status else "red")


def _padded(text: Text, width: int) -> Text:
    text.append(" " * max(0, width - len(text)))
    return text


def _clock(moment: str) -> str:
    """The moment as this machine's clock shows it."""
    return f"{datetime.fromisoformat(moment).astimezone():%H:%M:%S}"
