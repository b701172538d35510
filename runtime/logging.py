"""Logs: one JSON object a line on stderr, or readable lines on a terminal. Libraries' own logs take the same way."""

import logging
import os
import re
import sys
import time
from collections import OrderedDict
from typing import Any, Final, TextIO, cast

import msgspec
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from runtime.printable import printable, printable_json, printable_lines

REPEAT_AFTER: Final = 600.0
"""Seconds before a library's line is written again. aiokafka says at every retry that a broker is away, in several
ways; each once when it goes and once in ten minutes while it stays away tell as much."""

_REMEMBERED_LINES: Final = 256
_ROWS: Final = re.compile(
    r"(\n[ |]*DETAIL:|invalid input for query argument [^:]*:|invalid input syntax for type [^:]*:)"
    r".*?(?=\n[ |+-]*(?:HINT:|Traceback \(most|The above exception was|During handling of|-{3,})|\Z)",
    re.DOTALL,
)
"""Where PostgreSQL and its client quote values, up to what follows them. A value may have several lines, and a
traceback of a group puts bars before them."""

_STDERR: Final = 2
_BLOCKS: Final = frozenset({"exception", "stack"})
"""What a line of the log may have below it."""

_QUIET: Final = ("aiokafka", "aiohttp", "asyncio", "opentelemetry", "stamina", "urllib3")


def configure_logging(level: str, format_: str, stream: TextIO | None = None) -> None:
    """Set up logging for this process.

    `level` and `format_` are the settings `WAYBILL_LOG_LEVEL` and `WAYBILL_LOG_FORMAT`. Libraries are heard from
    `warning` on, at level `debug` from `info` on.
    """
    _fill_standard_streams()
    out = cast("TextIO", _Stderr()) if stream is None else stream
    console = format_ == "console" or (format_ == "auto" and out.isatty())
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]
    final: list[Processor] = [*_exceptions(), *(_console(out) if console else [_json()])]
    structlog.configure(
        processors=[*shared, *final],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=out),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *final],
        )
    )
    handler.addFilter(_OncePerCondition())
    logging.basicConfig(handlers=[handler], level=threshold, force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.INFO if threshold == logging.DEBUG else logging.WARNING)


class _Stderr:
    """Standard error as it is when a line is written: it may be replaced after loggers were made.

    A service outlives whoever reads its lines: without a reader they go nowhere, and there is nobody to tell.
    """

    def write(self, text: str, /) -> None:
        try:
            if sys.stderr:
                sys.stderr.write(text)
        except (OSError, ValueError) as error:
            _unheard(error)

    def flush(self) -> None:
        try:
            if sys.stderr:
                sys.stderr.flush()
        except (OSError, ValueError) as error:
            _unheard(error)

    def isatty(self) -> bool:
        return sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty()


def _unheard(error: OSError | ValueError) -> None:
    """Lead standard error nowhere when its reader is gone. A full disk, or a stream closed by us, may pass."""
    if isinstance(error, BrokenPipeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _STDERR)
        os.close(nowhere)


def _fill_standard_streams() -> None:
    """Open what this process was started without: libuv aborts where a descriptor of its own is one of the three."""
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        continue
    os.close(opened)


class _OncePerCondition(logging.Filter):
    """Lets a line through that was not written lately, and says how often it was left out since."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        key = (record.name, record.getMessage())
        now = time.monotonic()
        written_at, left_out = self._seen.pop(key, (now - REPEAT_AFTER, 0))
        if repeated := now - written_at < REPEAT_AFTER:
            self._seen[key] = (written_at, left_out + 1)
        else:
            self._seen[key] = (now, 0)
            if left_out:
                record.left_out = left_out
        if len(self._seen) > _REMEMBERED_LINES:
            self._seen.popitem(last=False)
        return not repeated


def _exceptions() -> list[Processor]:
    return [structlog.processors.StackInfoRenderer(), structlog.processors.format_exc_info, _without_rows]


def _json() -> Processor:
    encoder = msgspec.json.Encoder(enc_hook=str)

    def serialize(event: Any, **_: object) -> str:
        return printable_json(encoder.encode(event).decode())

    return structlog.processors.JSONRenderer(serializer=serialize)


def _console(out: TextIO) -> list[Processor]:
    # The default formatter of exceptions shows local variables, bodies and secrets among them.
    renderer = structlog.dev.ConsoleRenderer(
        colors=out.isatty(), timestamp_key="time", exception_formatter=structlog.dev.plain_traceback
    )
    return [_guarded, renderer]


def _guarded(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Show as escapes what would command a terminal. Other values than texts are written by `repr`, which does so."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = (printable_lines if key in _BLOCKS else printable)(value)
    return event


def _without_rows(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut out what PostgreSQL's errors quote of rows, wherever they are told: rows hold personal data."""
    for key, value in event.items():
        if isinstance(value, str):
            event[key] = _ROWS.sub(r"\1 …", value)
    return event


def _logger_name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    if record is not None:
        event["logger"] = record.name
    return event
