"""How a command begins: settings and logs."""

import os

import structlog

from runtime.logging import configure_logging
from runtime.settings import Settings, load_settings, unknown_settings


def start() -> Settings:
    """Load the settings, set up the logs, and say what looks like a setting and is none."""
    settings = load_settings(os.environ)
    configure_logging(settings.log_level, settings.log_format)
    for name in unknown_settings(os.environ):
        structlog.get_logger(__name__).warning("unknown setting", name=name)
    return settings
