"""`waybill audit`."""

import argparse
from functools import partial
from typing import Any

import msgspec

from cli.exit_codes import DONE, FAILED
from cli.operating import operate
from cli.terminal.arguments import offer_json, offer_personal
from cli.terminal.audit_progress import shown
from cli.terminal.output import say, say_json
from cli.terminal.tables import say_table
from operators.audit.facts import Difference
from operators.audit.report import Report, Scope
from operators.audit.run import audit
from operators.shared.operator_log import note, operator_name
from runtime.postgres import OPERATOR, connect
from runtime.settings import Settings


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--shipment", metavar="S", help="one shipment: its id, reference, order or AWB")
    scope.add_argument("--partition", metavar="P", type=_partition, help="one partition")
    scope.add_argument("--all", action="store_true", help="everything, as without these")
    parser.add_argument(
        "--from-raw", action="store_true", help="also read the raw topic with today's code, and compare"
    )
    offer_personal(parser)
    offer_json(parser)
    parser.set_defaults(command=partial(operate, _audit))


def _partition(text: str) -> int:
    if not (text.isdecimal() and text.isascii() and len(text) < 7):
        raise argparse.ArgumentTypeError(f"{text!r} is not a partition's number")
    return int(text)


async def _audit(settings: Settings, arguments: argparse.Namespace) -> int:
    scope = Scope(arguments.shipment, arguments.partition, arguments.from_raw)
    with shown() as tell:
        report = await audit(settings, scope, tell)
    if arguments.show_personal and (report.differences or report.corrections):
        await _note(settings, report)
    if not arguments.show_personal:
        report = msgspec.structs.replace(
            report,
            differences=[each.masked() for each in report.differences],
            corrections=[each.masked() for each in report.corrections],
        )
    if arguments.json:
        say_json(report)
    else:
        _show(report)
    return FAILED if report.found else DONE


async def _note(settings: Settings, report: Report) -> None:
    told = (*report.differences, *report.corrections)
    seen = sorted({each.shipment for each in told if each.shipment is not None})
    connection = await connect(settings, OPERATOR)
    try:
        await note(connection, operator_name(settings), "audit", {"show_personal": seen})
    finally:
        await connection.close()


def _show(report: Report) -> None:
    if report.corrections:
        say_table(("shipment", "where", "field", "by today's rules", "as shown"), map(_cells, report.corrections))
        say(
            f"{_many(report.outdated, 'shipment')} read by an older edition of the couriers' words, come out otherwise "
            "today: no damage. `waybill replay plan --all` tells how, `waybill replay run --all` corrects them."
        )
    if report.differences:
        say_table(("shipment", "where", "field", "expected", "found"), map(_cells, report.differences))
    if report.found > len(report.differences):
        say(f"… and {report.found - len(report.differences)} more")
    parts = [f"{_many(report.shipments, 'shipment')} compared"]
    if report.records:
        parts.append(f"{_many(report.records, 'record')} counted")
    parts.append(_many(report.partitions, "partition"))
    if report.from_raw or report.unchecked:
        parts.append(f"{report.from_raw} folded from the raw topic")
        parts.append(f"{report.unchecked} that reach back before it, are retired or were named otherwise, could not be")
    if report.derived:
        parts.append(f"{_many(report.derived, 'event')} derived in a recovery, which stores none")
    if report.unread:
        parts.append(f"{_many(report.unread, 'offset')} gone from the log before they could be applied")
    say(f"{', '.join(parts)}: {_many(report.found, 'difference')}")


def _many(count: int, what: str) -> str:
    return f"{count or 'no'} {what}{'' if count == 1 else 's'}"


def _cells(difference: Difference) -> tuple[str | None, ...]:
    whose = difference.shipment or f"partition {difference.partition}"
    return whose, difference.where, difference.field, _text(difference.expected), _text(difference.found)


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
