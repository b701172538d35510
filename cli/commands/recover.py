"""`waybill recover`."""

import argparse

import msgspec

from cli.exit_codes import DONE, FAILED, USAGE
from cli.signals import run
from cli.starting import start
from cli.terminal.arguments import offer_json
from cli.terminal.consent import can_ask, offer_change, unconfirmed
from cli.terminal.output import complain, say, say_json
from processor.core.errors import ProcessorError
from processor.protocol.repair import Repair
from processor.recovery.run import FAILURES, open_recovery
from runtime.settings import Settings


class _Planned(msgspec.Struct, frozen=True):
    """What is, or was, to be done for a partition."""

    partition: int
    trouble: str
    why: str
    lost_records: int
    steps: tuple[str, ...]


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    offer_change(parser)
    offer_json(parser)
    parser.set_defaults(command=_recover)


def _recover(arguments: argparse.Namespace) -> int:
    return run(_mend(start(), arguments)) if can_ask(arguments) else USAGE


async def _mend(settings: Settings, arguments: argparse.Namespace) -> int:
    """Say what stops each partition and how it is mended; mend it if that is wanted."""
    try:
        async with open_recovery(settings) as recovery:
            planned = _planned(await recovery.inspect())
            value = {"mended": False, "partitions": planned}
            code = unconfirmed(arguments, lambda: _show(planned), value, anything=bool(planned))
            if code is not None:
                return code
            await recovery.run(complain if arguments.json else say)
    except (ProcessorError, *FAILURES) as error:
        reason = (str(error) or repr(error)).splitlines()[0]  # behind it PostgreSQL quotes rows
        complain(f"{reason}; run `waybill recover` again, it goes on where it stopped")
        return FAILED
    if arguments.json:
        say_json({**value, "mended": True})
    return DONE


def _planned(repairs: dict[int, Repair]) -> list[_Planned]:
    return [
        _Planned(partition, repair.reason, repair.why, repair.lost, repair.steps)
        for partition, repair in repairs.items()
    ]


def _show(planned: list[_Planned]) -> None:
    if not planned:
        say("every partition can go on: nothing is to be mended")
    for each in planned:
        say(f"partition {each.partition}: {each.why}")
        for number, step in enumerate(each.steps, 1):
            say(f"  {number}. {step}")
