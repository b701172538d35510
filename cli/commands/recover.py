"""`waybill recover`."""

import msgspec

from cli.terminal.consent import agreed as ask
from cli.terminal.output import complain, say, say_json
from processor.core.errors import ProcessorError
from processor.protocol.repair import Mend
from processor.recover import FAILURES, open_recovery
from runtime.settings import Settings


class _Planned(msgspec.Struct, frozen=True):
    """What is, or was, to be done for a partition."""

    partition: int
    trouble: str
    why: str
    lost_records: int
    steps: tuple[str, ...]


async def recover(settings: Settings, *, json: bool, dry_run: bool, yes: bool) -> int:
    """Say what stops each partition and how it is mended; mend it if that is wanted. 1 if it fails or is declined."""
    try:
        async with open_recovery(settings) as recovery:
            planned = _planned(await recovery.inspect())
            if not json:
                _show(planned)
            agreed = bool(planned) and not dry_run and (yes or ask())
            if agreed:
                await recovery.run(complain if json else say)
    except (ProcessorError, *FAILURES) as error:
        reason = (str(error) or repr(error)).splitlines()[0]  # behind it PostgreSQL quotes rows
        complain(f"{reason}; run `waybill recover` again, it goes on where it stopped")
        return 1
    if json:
        say_json({"mended": agreed, "partitions": planned})
    return 0 if agreed or dry_run or not planned else 1


def _planned(mends: dict[int, Mend]) -> list[_Planned]:
    return [_Planned(partition, mend.trouble, mend.why, mend.lost, mend.steps) for partition, mend in mends.items()]


def _show(planned: list[_Planned]) -> None:
    if not planned:
        say("every partition can go on: nothing is to be mended")
    for each in planned:
        say(f"partition {each.partition}: {each.why}")
        for number, step in enumerate(each.steps, 1):
            say(f"  {number}. {step}")
