"""`waybill ingest` on a machine whose clock is off by what a file says, in seconds, at every look at it."""

import os
import sys
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Final

import ingest.service
from cli.main import main

SHIFT_FILE: Final = "WAYBILL_TEST_CLOCK_SHIFT_FILE"


class Shifted(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
        """Return a time of the plain kind, as clocks give."""
        right = datetime.now(tz)
        return right + timedelta(seconds=float(Path(os.environ[SHIFT_FILE]).read_text(encoding="utf-8")))


if __name__ == "__main__":
    vars(ingest.service)["datetime"] = Shifted
    sys.exit(main(["ingest"]))
