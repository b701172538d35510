"""`waybill up`."""

import argparse


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    parser.add_argument("--once", action="store_true", help="stop when every expected event was seen")
    parser.add_argument("--no-samples", action="store_true", help="play no deliveries, just run")
    parser.set_defaults(command=_up)


def _up(arguments: argparse.Namespace) -> int:
    # Needs what only developers install, which `waybill completion` must do without.
    from cli.demo import up  # noqa: PLC0415

    return up.run(once=arguments.once, samples=not arguments.no_samples)
