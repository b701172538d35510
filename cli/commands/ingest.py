"""`waybill ingest`."""

import argparse

from cli.exit_codes import USAGE
from cli.starting import start
from cli.terminal.output import complain
from ingest import service
from runtime.settings import secrets_settings


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.set_defaults(command=_ingest)


def _ingest(_arguments: argparse.Namespace) -> int:
    settings = start()
    if not settings.couriers_on:
        complain(f"no courier is on: set {' or '.join(secrets_settings())}")
        return USAGE
    return service.run(settings)
