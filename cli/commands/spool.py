"""`waybill spool`: what the door's spool holds, and what becomes of what a broker refused for good."""

import argparse
from functools import partial
from pathlib import Path

from cli.exit_codes import DONE, FAILED
from cli.operating import change, operate
from cli.terminal.arguments import moment, offer_json, positive
from cli.terminal.consent import offer_change, unconfirmed
from cli.terminal.output import complain, say, say_json
from cli.terminal.tables import say_table
from operators.shared.errors import OperatorError
from operators.spool import RefusedRecord, Spool, SpoolSelection, drop, look, retry, select, until_drained
from runtime.settings import Settings
from schemas.couriers import COURIERS
from schemas.times import format_time


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command and its verbs."""
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    listed = verbs.add_parser("list", help="how much waits for Kafka, and each record that was refused, oldest first")
    _offer_selection(listed)
    offer_json(listed)
    listed.set_defaults(command=partial(operate, _list))

    wait = verbs.add_parser("wait", help="wait until a running door has given Kafka all that waits")
    wait.add_argument(
        "--seconds", type=positive, default=60, metavar="N", help="at most so long, then exit 1; default 60"
    )
    wait.set_defaults(command=partial(operate, _wait))

    retry = verbs.add_parser("retry", help="append refused records to the raw topic once more")
    _offer_selection(retry)
    offer_change(retry)
    offer_json(retry)
    retry.set_defaults(command=partial(change, _retry))

    drop = verbs.add_parser("drop", help="delete refused records: what they say is lost")
    _offer_selection(drop)
    offer_change(drop)
    offer_json(drop)
    drop.set_defaults(command=partial(change, _drop))


def _offer_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("seqs", metavar="SEQ", nargs="*", type=positive, help="a record's number; none: all refused")
    parser.add_argument(
        "--courier", action="append", default=[], choices=tuple(COURIERS), help="only this courier's; may be repeated"
    )
    parser.add_argument(
        "--since", type=moment, metavar="TIME", help="only those received since (a time, or 2h, 3d ago)"
    )
    parser.add_argument("--limit", type=positive, metavar="N", help="at most N, the oldest")


async def _list(settings: Settings, arguments: argparse.Namespace) -> int:
    directory, spool, chosen = _chosen(settings, arguments)
    if arguments.json:
        say_json({"directory": str(directory), "waiting": spool.waiting, "refused": chosen})
        return DONE
    waiting = spool.waiting
    since = f", the oldest since {format_time(waiting.oldest_received_at)}" if waiting.oldest_received_at else ""
    say(f"{waiting.records} wait for Kafka ({waiting.bytes} bytes{since}), {len(spool.refused)} are refused")
    _say_refused(chosen)
    return DONE


async def _wait(settings: Settings, arguments: argparse.Namespace) -> int:
    waiting = await until_drained(_directory(settings), arguments.seconds)
    if waiting.records:
        complain(f"{waiting.records} wait for Kafka still ({waiting.bytes} bytes)")
        return FAILED
    return DONE


async def _retry(settings: Settings, arguments: argparse.Namespace) -> int:
    directory, _, chosen = _chosen(settings, arguments)
    if (code := _unconfirmed(chosen, arguments, "retried")) is not None:
        return code
    done = [each async for each in retry(settings, directory, [each.seq for each in chosen])]
    failed = [each for each in done if each.failure]
    if arguments.json:
        say_json({"dry_run": False, "retried": done})
    else:
        say(f"{len(done) - len(failed)} sent")
        for each in failed:
            complain(f"{each.seq}: {each.failure}")
    return FAILED if failed else DONE


async def _drop(settings: Settings, arguments: argparse.Namespace) -> int:
    directory, _, chosen = _chosen(settings, arguments)
    if (code := _unconfirmed(chosen, arguments, "dropped")) is not None:
        return code
    count = drop(directory, [each.seq for each in chosen])
    if arguments.json:
        say_json({"dry_run": False, "dropped": chosen})
    else:
        say(f"{count} dropped")
    return DONE


def _chosen(settings: Settings, arguments: argparse.Namespace) -> tuple[Path, Spool, tuple[RefusedRecord, ...]]:
    directory = _directory(settings)
    spool = look(directory)
    selection = SpoolSelection(tuple(arguments.seqs), tuple(arguments.courier), arguments.since, arguments.limit)
    return directory, spool, select(spool.refused, selection)


def _directory(settings: Settings) -> Path:
    if settings.ingest_spool_dir is None:
        raise OperatorError("there is no spool: WAYBILL_INGEST_SPOOL_DIR is empty")
    return Path(settings.ingest_spool_dir).resolve()


def _unconfirmed(chosen: tuple[RefusedRecord, ...], arguments: argparse.Namespace, deed: str) -> int | None:
    def planned() -> None:
        say(f"{len(chosen)} refused records")
        _say_refused(chosen)

    value = {"dry_run": arguments.dry_run, deed: [], "refused": chosen}
    return unconfirmed(arguments, planned, value, anything=bool(chosen))


def _say_refused(chosen: tuple[RefusedRecord, ...]) -> None:
    if chosen:
        say_table(
            ("SEQ", "KEY", "COURIER", "WEBHOOK", "ITEM", "RECEIVED", "BYTES", "REASON"),
            (
                (
                    each.seq,
                    each.key,
                    each.courier,
                    each.webhook_id,
                    each.item,
                    format_time(each.received_at),
                    each.bytes,
                    each.reason,
                )
                for each in chosen
            ),
        )
