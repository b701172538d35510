"""Accepting and dismissing anomalies: one, or all that a filter chooses, as `waybill anomalies` does it."""

from collections import Counter
from datetime import UTC, datetime
from functools import partial
from typing import Final

import msgspec

from console.actions.action import Action, Came, ImpossibleError, Order, Plan, counted, moment_of
from console.page import Asked, Context, WrongQueryError
from console.pages.anomalies import read_since
from console.rendering import address
from operators.decisions.anomalies import AT_ONCE, Chosen, Standing, Wanted, choose, decision_on, find
from operators.decisions.decide import decide, decide_all, predicted, write
from operators.decisions.known_shipment import KnownShipment, load
from operators.shared.finding import find_shipment
from runtime.appending import open_appender
from schemas.observation import Decision
from schemas.records import NewRecord
from schemas.times import format_time
from schemas.vocabulary import AnomalyKind

SHOWN: Final = 20
"""Kinds and words that a plan lists."""


class AnomalyChoice(msgspec.Struct, frozen=True):
    """Which anomalies: the one of this `id`, or all open ones that the filter chooses, at most 1,000, the newest."""

    id: str | None = None
    kind: tuple[AnomalyKind, ...] = ()
    courier: tuple[str, ...] = ()
    word: tuple[str, ...] = ()
    shipment: str | None = None
    since: str | None = None


async def look(context: Context, choice: AnomalyChoice, asked: Asked, *, accepting: bool) -> Plan:
    """Say what deciding about the chosen anomalies would do."""
    now = datetime.now(UTC)
    chosen = await _chosen(context, choice, now, accepting=accepting)
    if choice.id is not None and chosen.standing:
        return await _look_at_one(context, chosen.standing[0], asked, accepting=accepting)
    words = Counter((each.anomaly.courier, each.anomaly.kind, each.anomaly.courier_status) for each in chosen.standing)
    told = [f"{counted(len(chosen.standing), 'anomaly', 'anomalies')} to {_verb(accepting=accepting)}"]
    told += [f"{count} of {courier}: {kind}, {word}" for (courier, kind, word), count in words.most_common(SHOWN)]
    if len(words) > SHOWN:
        told.append(f"and {len(words) - SHOWN} more words")
    told += [f"{count} passed over: {why}" for why, count in Counter(each.why for each in chosen.passed).items()]
    if len(chosen.standing) == AT_ONCE:
        told.append("there may be more: do it again for those")
    return Plan(tuple(told), bool(chosen.standing), until=format_time(now))


async def _look_at_one(context: Context, standing: Standing, asked: Asked, *, accepting: bool) -> Plan:
    anomaly = standing.anomaly
    (_, record), _ = _written(standing, asked.who.name, "a look", accepting=accepting)
    shipment = await load(context.database.pool, anomaly.shipment_id)
    will = predicted(record, shipment, context.settings) if shipment else None
    observed = anomaly.observed
    refused = f"{observed.courier_status} ({observed.status or 'no status'}) of {observed.occurred_at} was refused"
    told = f"{anomaly.shipment_id} is {anomaly.status or 'without a status'}; {refused}"
    gives = f"it would give {will.type}, {will.status}" if will else "no event would come of it"
    return Plan((told, gives), possible=True, event=will)


async def act(context: Context, choice: AnomalyChoice, asked: Asked, order: Order, *, accepting: bool) -> Came:
    """Decide about the chosen anomalies."""
    verb, pool = _verb(accepting=accepting), context.database.pool
    chosen = await _chosen(context, choice, moment_of(order.until), accepting=accepting)
    if not chosen.standing:
        raise ImpossibleError(chosen.passed[0].why if chosen.passed else "no open anomaly is like that any more")
    by = asked.who.name
    async with open_appender(context.settings) as appender:
        if choice.id is not None:
            (standing,) = chosen.standing
            command, decision = _written(standing, by, order.reason, order.command_id, accepting=accepting)
            came = await decide(pool, appender, command, decision, f"anomalies {verb}")
            after = await find(pool, standing.anomaly.id)
            said = came.outcome or "appended, and not applied yet: it is applied as soon as a processor runs"
            return Came((said, f"the anomaly is {after.state}"), came.outcome is not None, came.event)
        decided = [_written(each, by, order.reason, accepting=accepting) for each in chosen.standing]
        counts = await decide_all(pool, appender, decided, f"anomalies {verb}")
    told = [f"{count} {verb}ed: {what}" for what, count in sorted(counts.items())]
    left = len(decided) - sum(counts.values())
    if left:
        told.append(f"{left} are not applied yet: do it again when a processor runs")
    return Came(tuple(told), not left)


async def _chosen(context: Context, choice: AnomalyChoice, until: datetime, *, accepting: bool) -> Chosen:
    """Return what is chosen of the anomalies that were recorded until then."""
    if choice == AnomalyChoice():
        raise WrongQueryError("which anomalies? Give an id, or kind, courier, word, shipment or since")
    pool = context.database.pool
    shipment = None if choice.shipment is None else await find_shipment(pool, choice.shipment)
    wanted = Wanted(tuple(choice.kind), choice.courier, choice.word, read_since(choice.since), shipment)
    ids = () if choice.id is None else (choice.id,)
    chosen = await choose(pool, ids, wanted, AT_ONCE, accepting=accepting)
    return Chosen(tuple(each for each in chosen.standing if each.recorded_at <= until), chosen.passed)


def _written(
    standing: Standing, by: str, reason: str, command_id: str | None = None, *, accepting: bool
) -> tuple[tuple[str, NewRecord], Decision]:
    decision = decision_on(standing, by, reason, accepting=accepting)
    anomaly = standing.anomaly
    known = KnownShipment(anomaly.shipment_id, anomaly.courier, standing.account)
    return write(known, decision, command_id), decision


def _verb(*, accepting: bool) -> str:
    return "accept" if accepting else "dismiss"


def _back(choice: AnomalyChoice) -> str:
    if choice.id is not None:
        return address("/anomalies", shipment=choice.id.partition("/anomaly/")[0], all=True)
    return address(
        "/anomalies",
        kind=choice.kind,
        courier=choice.courier,
        word=choice.word,
        shipment=choice.shipment,
        since=choice.since,
        all=True,
    )


ACCEPT = Action(
    "accept",
    "Accept anomalies",
    "Makes what was refused count, whatever the courier's table says.",
    AnomalyChoice,
    partial(look, accepting=True),
    partial(act, accepting=True),
    _back,
)

DISMISS = Action(
    "dismiss",
    "Dismiss anomalies",
    "Marks anomalies as needing nothing done.",
    AnomalyChoice,
    partial(look, accepting=False),
    partial(act, accepting=False),
    _back,
)
