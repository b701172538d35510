"""`waybill processor`."""

import argparse

from cli.starting import start
from processor import service


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.set_defaults(command=lambda _arguments: service.run(start()))
