"""Tests can listen to a logger, whatever commands ran in their process before."""

import structlog
from structlog.testing import capture_logs

from runtime.logging import configure_logging

log = structlog.get_logger(__name__)


def test_a_logger_used_before_is_heard() -> None:
    before = structlog.get_config()
    try:
        configure_logging("info", "json")
        log.info("used")
        with capture_logs() as logs:
            log.info("heard")
    finally:
        structlog.configure(**before)
    assert [each["event"] for each in logs] == ["heard"]
