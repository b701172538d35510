"""Whether a process makes spans. Where it makes none, OpenTelemetry is not even imported: it is an extra."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from runtime.errors import SettingsError
from runtime.settings import PREFIX, Settings

if TYPE_CHECKING:
    from runtime.spans import Spans

LIBRARY: Final = "opentelemetry"


@contextmanager
def spans_of(settings: Settings, process: str) -> Iterator["Spans | None"]:
    """Give what makes the spans of a process; None where no webhook is traced.

    Raises:
        SettingsError: the extra is not installed, or the library cannot make use of its own settings (`OTEL_…`).

    """
    if not settings.trace_ratio:
        yield None
        return
    try:
        from runtime.spans import exported  # noqa: PLC0415 - it imports the extra
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(LIBRARY):
            raise
        problem = (
            f"{PREFIX}TRACE_RATIO is above 0 and the extra is not installed: pip install -r requirements-otel.txt; "
            "an image is built with --build-arg REQUIREMENTS=requirements-otel.txt"
        )
        raise SettingsError((problem,)) from error
    with exported(process) as spans:
        yield spans
