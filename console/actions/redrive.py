"""Redriving dead letters, as `waybill dlq redrive`: a job that the console's process works off."""

from collections import Counter
from datetime import UTC, datetime

import msgspec

from console.actions.action import Action, Came, ImpossibleError, Order, Plan, counted, moment_of
from console.page import Asked, Context
from console.pages.anomalies import read_since
from operators.dead_letters.letters import LetterSelection
from operators.dead_letters.redrive import predict
from operators.dead_letters.redrive_jobs import MAX_FAILURE_RATIO, chosen_until, queue
from schemas.times import format_time
from schemas.vocabulary import DeadLetterReason


class LetterChoice(msgspec.Struct, frozen=True):
    """Which dead letters: those named (P:O), or all open ones that the filter chooses."""

    letter: tuple[str, ...] = ()
    reason: tuple[DeadLetterReason, ...] = ()
    courier: tuple[str, ...] = ()
    since: str | None = None


async def look(context: Context, choice: LetterChoice, _asked: Asked) -> Plan:
    """Say what today's code makes of the chosen letters."""
    now, pool = datetime.now(UTC), context.database.pool
    chosen = await chosen_until(pool, _selection(choice), now)
    prediction = await predict(pool, chosen, context.settings.assumed_zone)
    reasons = Counter(each.reason for each in chosen.letters)
    spread = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    told = [
        f"{counted(len(chosen.letters), 'dead letter', 'dead letters')}{f' ({spread})' if spread else ''}",
        f"{prediction.readable} would be read by today's code",
        *(f"{count} would come back as {reason}" for reason, count in sorted(prediction.unreadable.items())),
        *(f"{count} passed over: {why}" for why, count in Counter(each.why for each in chosen.passed).items()),
        f"it stops when more than {MAX_FAILURE_RATIO:.0%} come back",
    ]
    return Plan(tuple(told), bool(chosen.letters), until=format_time(now))


async def act(context: Context, choice: LetterChoice, asked: Asked, order: Order) -> Came:
    """Ask for the redrive."""
    pool, until, selection = context.database.pool, moment_of(order.until), _selection(choice)
    chosen = await chosen_until(pool, selection, until)
    if not chosen.letters:
        raise ImpossibleError("no open dead letter is like that any more")
    job = await queue(pool, selection, until, len(chosen.letters), asked.who.name, order.reason, order.job("redrive"))
    letters = counted(len(chosen.letters), "dead letter", "dead letters")
    return Came((f"{job} will redrive {letters}, whatever becomes of this page",), whole=True)


def _selection(choice: LetterChoice) -> LetterSelection:
    return LetterSelection(choice.letter, tuple(choice.reason), choice.courier, read_since(choice.since))


REDRIVE = Action(
    "redrive",
    "Redrive dead letters",
    "Has the raw records of dead letters read again with today's code.",
    LetterChoice,
    look,
    act,
    lambda _choice: "/replays",
)
