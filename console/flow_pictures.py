"""The pictures of a flow, each with a table of its numbers."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from markupsafe import Markup

from console.flow_drawing import Series, bars, fan, lines, number, rows
from operators.views.flow import Flow
from schemas.vocabulary import Outcome


class Drawing(msgspec.Struct, frozen=True):
    """A picture, or what is said where there is nothing to draw; and its numbers as a table."""

    heading: str
    nothing: str
    picture: Markup | None
    legend: tuple[str, ...]
    head: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def drawings(flow: Flow) -> Iterator[tuple[str, Drawing]]:
    """Give the pictures of a flow by their names."""
    times = [each.at[11:16] for each in flow.bins]
    rates: Series = {str(name): [each.a_minute.get(name, 0.0) for each in flow.bins] for name in Outcome}
    yield (
        "rates",
        _drawn(
            "Records a minute, by what they led to", times, rates, bars("Records a minute", times, rates, "a minute")
        ),
    )
    late: Series = {
        "half": [each.delay_p50 for each in flow.bins],
        "95 of 100": [each.delay_p95 for each in flow.bins],
    }
    yield (
        "delay",
        _drawn(
            "Seconds from received to recorded",
            times,
            late,
            lines("Delay from received to recorded", times, late, "seconds"),
        ),
    )
    told: Series = {str(each.status): each.told for each in flow.statuses}
    yield (
        "statuses",
        _drawn("Statuses that events told", times, told, rows("Statuses that events told", times, told), legend=False),
    )
    ends = [(each.name, each.name, float(each.records)) for each in flow.outcomes]
    ends += [(f"dead letter: {each.name}", "dead", float(each.records)) for each in flow.dead_letters]
    yield (
        "outcomes",
        Drawing(
            "From raw records to outcomes",
            "Nothing came of any record in these hours.",
            _markup(fan("From raw records to outcomes", "raw records", ends)) if ends else None,
            (),
            ("outcome", "records"),
            tuple((name, number(value)) for name, _, value in ends),
        ),
    )


def _drawn(heading: str, times: Sequence[str], series: Series, picture: str, *, legend: bool = True) -> Drawing:
    empty = not any(value for values in series.values() for value in values)
    numbers = ((when, *(_told(values[place]) for values in series.values())) for place, when in enumerate(times))
    return Drawing(
        heading,
        "There is nothing to draw yet.",
        None if empty else _markup(picture),
        tuple(series) if legend else (),
        ("from, UTC", *series),
        tuple(numbers),
    )


def _told(value: float | None) -> str | None:
    return None if value is None else number(value)


def _markup(picture: str) -> Markup:
    return Markup(picture)  # noqa: S704 - every text in it is escaped
