"""`waybill courier`: what whoever adds a courier, or looks into one, needs."""

import argparse
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import schemas.couriers
from cli.bodies import read_bodies
from cli.commands import courier_new, courier_send
from cli.exit_codes import DONE, FAILED, USAGE
from cli.starting import start
from cli.terminal.arguments import moment, offer_json
from cli.terminal.console import console
from cli.terminal.output import complain, is_watched, say_json
from cli.terminal.trial_tree import trees
from operators.trial.report import Trial
from operators.trial.run import EXPLAINED, Bench, samples_of, try_answers, try_webhooks
from schemas.couriers import COURIERS, Courier

PIPE_WIDTH: Final = 200
"""The trees' width where there is no terminal."""

MAX_SAMPLE_BYTES: Final = 1_048_576
"""How much of a courier's sample is looked at: as much as a webhook has."""


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command and its verbs."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    trying = verbs.add_parser(
        "try", help="what bodies would do: pieces, readings, fold, events; no broker and no database is needed"
    )
    trying.description = (
        "Reads the files as webhooks of the courier, one after the other, with the door's and the processor's own "
        "functions, and shows what would come of them. Nothing is sent, nothing is kept. Exit code 1: a body would be "
        "refused, or a record be a dead letter."
    )
    courier_send.offer_bodies(trying, required=True)
    trying.add_argument(
        "--received-at",
        type=moment,
        metavar="TIME",
        help="when the first is received, each other a second after the last (a time, or 2h, 3d ago; default: now)",
    )
    trying.add_argument(
        "--asked-about",
        metavar="REFERENCE",
        help="the files are no webhooks: they are answers of the courier's API about this shipment",
    )
    trying.add_argument("--show-personal", action="store_true", help="show personal data")
    offer_json(trying)
    trying.set_defaults(command=_try)

    courier_send.offer(verbs)
    courier_new.offer(verbs)


def _try(arguments: argparse.Namespace) -> int:
    settings = start()
    courier, asked = COURIERS[arguments.courier], arguments.asked_about
    if asked is not None and courier.tracking is None:
        complain(f"{courier.name} has no API that could be asked")
        return USAGE
    bodies = read_bodies(arguments.files, settings.ingest_max_body_bytes)
    samples = samples_of(courier, _samples(courier)) if asked is None else {}
    began = arguments.received_at or datetime.now(UTC)
    bench = Bench(courier, settings, samples, began, show_personal=arguments.show_personal)
    trial = try_webhooks(bench, bodies) if asked is None else try_answers(bench, bodies, asked)
    if arguments.json:
        say_json(trial)
    else:
        _tell(trial)
    return DONE if trial.all_read else FAILED


def _tell(trial: Trial) -> None:
    screen = console(width=None if is_watched() else PIPE_WIDTH)
    for tree in trees(trial):
        screen.print(tree)
        screen.print()
    if trial.unexplained:
        complain(f"the parts of {trial.unexplained} more records are not told: only those of the first {EXPLAINED} are")


def _samples(courier: Courier) -> Iterator[bytes]:
    """Give the courier's samples, which lie in its folder."""
    folder = Path(schemas.couriers.__file__).parent / courier.name / "samples"
    for path in sorted(folder.rglob("*.json")):
        with path.open("rb") as opened:
            yield opened.read(MAX_SAMPLE_BYTES)
