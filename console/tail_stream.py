"""`/tail/stream`: the tail as server-sent events, for `static/tail.js`."""

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

import msgspec
from aiohttp import web

from console.rendering import fragment
from console.tail import News, Tail, without_personal

HEARTBEAT_SECONDS: Final = 2.0
"""How often something is sent when nothing comes: so soon it is seen that a tab is gone."""

WRITE_SECONDS: Final = 5.0
"""How long a tab may take nothing of what is sent. Then it is taken for gone."""

LENGTH_SECONDS: Final = 600.0
"""How long one stream lasts: then the browser comes again, and shows again who it is."""

MOST_NUMBER: Final = 1 << 53
"""The largest number of a row that a browser can name."""


class TabMessage(msgspec.Struct, frozen=True):
    """What a browser is told: rows as HTML, how many were left out, what is wrong."""

    rows: str
    left_out: int
    trouble: str | None


async def stream(
    request: web.Request,
    tail: Tail,
    headers: Mapping[str, str],
    may_look: Callable[[], bool],
    *,
    shows_personal: bool,
) -> web.StreamResponse:
    """Send what comes until the tab is gone or may look no more, the stream has lasted its time, or the console stops.

    Raises:
        FullError: as many tabs follow as may.

    """
    number = min(_number(request), tail.number)
    with tail.following():
        response = web.StreamResponse(headers={**headers, "X-Accel-Buffering": "no"})
        response.content_type = "text/event-stream"
        await response.prepare(request)
        until, trouble = monotonic() + LENGTH_SECONDS, None
        try:
            await _write(response, "retry: 2000\n\n")
            while not tail.closed and monotonic() < until and _is_there(request) and may_look():
                news = await tail.after(number, trouble, HEARTBEAT_SECONDS)
                if news is not None:
                    number, trouble = news.number, news.trouble
                await _write(response, ": nothing\n\n" if news is None else message(news, shows_personal))
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the tab is gone
    return response


def message(news: News, shows_personal: bool) -> str:
    """Return news as one event of the stream."""
    rows = news.rows if shows_personal else tuple(map(without_personal, news.rows))
    html = fragment("tail-rows.html", {"rows": rows[::-1], "shows_personal": shows_personal}) if rows else ""
    told = msgspec.json.encode(TabMessage(html, news.left_out, news.trouble)).decode()
    return f"id: {news.number}\ndata: {told}\n\n"


async def _write(response: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await response.write(text.encode())


def _is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


def _number(request: web.Request) -> int:
    """Return the last row that the tab has. One that comes again says it in a header."""
    text = request.headers.get("Last-Event-ID") or request.query.get("after", "")
    return min(int(text), MOST_NUMBER) if text.isascii() and text.isdecimal() and len(text) < 20 else MOST_NUMBER
