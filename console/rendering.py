"""Pages as HTML. Whatever a courier wrote is escaped, made visible and cut here, for every template alike."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

import jinja2
import msgspec
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from console.access import Who
from console.flow_pictures import drawings
from console.lifecycle_drawing import Way, draw
from runtime.printable import printable, printable_json, printable_lines
from schemas.couriers import COURIERS
from schemas.shipment_ids import parse_shipment_id
from schemas.times import format_time
from schemas.vocabulary import PHASES, AnomalyKind, DeadLetterReason, Service, Status

FOLDER: Final = Path(__file__).parent
NOTHING: Final = "–"
"""Stands for a value that is not there."""

MAX_SHOWN: Final = 1_000
"""Characters of a text in a page: a paragraph. JSON has all of it."""

MAX_JSON: Final = 10_000
"""Characters of an event, or of another value, that is shown as JSON."""

_TABLE: Final = '<div class="table" tabindex="0" role="group" aria-label="Table, may be scrolled">'
"""Stands around a table, so that it and not the page is scrolled where it is too wide."""

_PRE: Final = '<pre tabindex="0" role="group" aria-label="Code, may be scrolled">'
"""The same of code."""

_LINK: Final = re.compile(r'<a href="(?!https?://|#)[^"]*">(.*?)</a>', re.DOTALL)
"""Links to other files: in the console they lead nowhere."""


def shown(value: Any) -> Any:
    """Return what stands in a page for a value: nothing is a dash, a text is cut, what has no shape an escape."""
    match value:
        case Markup() | jinja2.Undefined():
            return value
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case str():
            return printable(cut(value, MAX_SHOWN))
        case datetime():
            return format_time(value)
        case _:
            return value


def cut(text: str, most: int) -> str:
    """Return a text that is not longer than so many characters, but for a remark on how long it was."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def json_text(value: Any) -> Markup:
    """Return a value as indented JSON."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return escape(printable_json(cut(text, MAX_JSON)))


def body_text(text: str) -> Markup:
    """Return a courier's body, line by line."""
    return escape(printable_lines(cut(text, MAX_JSON)))


def plain(value: Any) -> Any:
    """Return a value of JSON on one line: texts as they are, the rest as JSON."""
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def when(text: str | None) -> Any:
    """Return a moment as a `time` element, without its fraction of a second."""
    if text is None:
        return None
    told = printable(cut(text, MAX_SHOWN))
    return Markup('<time datetime="{}">{}</time>').format(told, f"{told[:19].replace('T', ' ')}Z")


def span(seconds: float) -> str:
    """Return a duration as people say it: `0.4 s`, `12 min`, `3 h`, `2 days`."""
    for most, each, unit in ((100, 1, "s"), (100 * 60, 60, "min"), (48 * 3_600, 3_600, "h")):
        if abs(seconds) < most:
            return f"{seconds / each:.2g} {unit}" if abs(seconds / each) < 10 else f"{seconds / each:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"


def sent(value: Any) -> Markup:
    """Return a value as a form of ours sends it back, whole: a browser that read it sends the same."""
    return escape(str(value))


def address(path: str, **query: Any) -> Markup:
    """Return an address of ours with a query. What is None, False, 0 or empty is left out.

    A longer value than may be asked is cut, so that it is refused and does not lead elsewhere.
    """
    pairs = [
        (name, "1" if each is True else str(each)[:MAX_SHOWN])
        for name, value in query.items()
        for each in (value if isinstance(value, tuple | list) else (value,))
        if each
    ]
    return escape(f"{path}?{urlencode(pairs)}" if pairs else path)


def inside(path: str, name: str) -> Markup:
    """Return the address of a name below a path."""
    return escape(f"{path}/{quote(name, safe=':')}")


def markdown(text: str) -> Markup:
    """Return our own Markdown as HTML, without the links that lead out of the console."""
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    html = html.replace("<table>", f"{_TABLE}<table>").replace("</table>", "</table></div>").replace("<pre>", _PRE)
    return Markup(_LINK.sub(r"\1", html))  # noqa: S704 - our own page, and its HTML is escaped


def lifecycle(shipment_id: str, service: str | None, way: Iterable[Any], status: str | None) -> Markup | None:
    """Return the picture of a shipment's lifecycle; None: its service is not known."""
    courier = COURIERS.get(parse_shipment_id(shipment_id).courier)
    found = courier.lifecycles.get(Service(service)) if courier and service in set(Service) else None
    if found is None:
        return None
    ways = [Way(each.before, each.skipped, each.status) for each in way]
    return Markup(draw(found, ways, status))  # noqa: S704 - made of the tables' words alone


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "json": json_text,
        "body": body_text,
        "when": when,
        "markdown": markdown,
        "plain": plain,
        "span": span,
        "sent": sent,
    }
    made.globals |= {
        "address": address,
        "inside": inside,
        "lifecycle": lifecycle,
        "drawings": drawings,
        "couriers": tuple(COURIERS),
        "statuses": tuple(Status),
        "kinds": tuple(AnomalyKind),
        "reasons": tuple(DeadLetterReason),
        "phases": PHASES,
    }
    return made


_ENVIRONMENT: Final = _environment()


def fragment(template: str, values: Mapping[str, Any]) -> str:
    """Return a part of a page as HTML."""
    return _ENVIRONMENT.get_template(template).render(values)


class Frame(msgspec.Struct, frozen=True):
    """What every page shows beside its own: the title, who looks, the navigation, a form's token."""

    title: str
    path: str
    who: Who | None
    navigation: tuple[tuple[str, str], ...]
    log_out_token: str | None = None
    acts: bool = False
    """Whether actions are offered."""


def render(template: str, frame: Frame, values: Mapping[str, Any]) -> str:
    """Return a page as HTML."""
    return _ENVIRONMENT.get_template(template).render({**values, "frame": frame})
