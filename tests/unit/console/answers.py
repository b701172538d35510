"""Answers of every page, made of one text: a courier's, an operator's, ours."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, Final

import msgspec

from console.looks import Seen
from console.pages.anomalies import AnomaliesQuery, AnomalyList, AnomalyRow
from console.pages.attention import (
    AnomalyCount,
    AnomalyCounts,
    JobUnderWay,
    LetterCount,
    Part,
    PartitionTrouble,
    judged,
)
from console.pages.contract import ContractPage, TopicLine
from console.pages.couriers import CouriersPage
from console.pages.dead_letters import DeadLetterList, DeadLetterPage, DeadLettersQuery
from console.pages.flow import FlowPage
from console.pages.log import Log, LogQuery
from console.pages.replays import ReplayList
from console.pages.replays import row as job_row
from console.pages.shipment import ShipmentQuery, page_of
from console.pages.shipments import ShipmentList, ShipmentsQuery
from console.pages.tail import TailPage
from console.tail import KINDS, TailRow
from operators.dead_letters.newest import NewestLetters
from operators.dead_letters.shown import LetterGroup, ShownLetter, Today
from operators.doctor.finding import Finding, Level
from operators.replay.jobs import Job as ReplayJob
from operators.replay.jobs import Mode, Position
from operators.replay.jobs import Status as JobStatus
from operators.requests.asking import AskRequest, Requests
from operators.shared.errors import Match
from operators.views.attention import FailedCount, LastWebhook, SilentCount
from operators.views.drift import CourierDrift, Drift
from operators.views.flow import BIN, LOOK_BACK, Outcomes, flow_of
from operators.views.flow import Seen as SeenRecord
from operators.views.log import Entry
from operators.views.shipments import Decided, Listed, ShownObservation, ShownShipment
from reconcile.requests import MOVED, NOT_ASKED
from reconcile.told import Lateness, StatusCount
from runtime.metrics import AskResult
from schemas.events import Anomaly, Observed, RawCoordinates
from schemas.vocabulary import AnomalyKind, Outcome, Source, Status

AT: Final = "2026-11-27T12:00:00.000000Z"
NOW: Final = datetime(2026, 11, 27, 12, tzinfo=UTC)
ID: Final = 200
"""Characters of a text that may stand in an id: no index takes many more."""

POSITION: Final = Position(0, 10, 20, 8, 2)

Made = tuple[str, str, msgspec.Struct]
"""A page's name, what is special about it, and its answer."""


def answers(text: str) -> Iterator[Made]:
    """Make the answers of every page, in every kind of each, with a text wherever somebody else wrote one."""
    yield from _attention(text)
    yield from _shipments(text)
    yield from _shipment(text)
    yield from _anomalies(text)
    yield from _letters(text)
    yield from _others(text)
    yield from tails(text)
    yield from flows(text)


def _attention(text: str) -> Iterator[Made]:
    nothing: dict[str, Any] = {
        "stale_after": timedelta(hours=6),
        "findings": Part(()),
        "partitions": Part(()),
        "dead_letters": Part(()),
        "anomalies": Part(AnomalyCounts((), there_are_more=False)),
        "silent": Part(()),
        "failed": Part(()),
        "last_webhooks": Part(()),
        "jobs": Part(()),
    }
    yield "attention", "nothing to do", judged(**nothing)
    job = JobUnderWay(text, Mode.REPROCESS, JobStatus.RUNNING, True, text, text, AT, 3, 4)
    full = nothing | {
        "findings": Part((Finding(Level.FAIL, text, text, text), Finding(Level.WARN, text, text)), at=AT),
        "partitions": Part((PartitionTrouble(1, True, text, "waybill recover"),), under_way=True, at=AT),
        "dead_letters": Part((LetterCount(text, text, 1), LetterCount("too_deep", None, 2))),
        "anomalies": Part(AnomalyCounts((AnomalyCount(text, AnomalyKind.HISTORY_LIMIT, 1),), there_are_more=True)),
        "silent": Part((SilentCount("dash", "FAILED", 7, AT),)),
        "failed": Part((FailedCount("dash", True, 7, AT), FailedCount("dash", False, 1, AT))),
        "last_webhooks": Part((LastWebhook("dash", AT, f"dash:{text[:ID]}"), LastWebhook("kiriminaja", None, None))),
        "jobs": Part((job, msgspec.structs.replace(job, interrupted=False, detail=None))),
    }
    yield "attention", "full", judged(**full)
    for name in nothing.keys() - {"stale_after"}:
        yield "attention", f"{name} away", judged(**nothing | {name: Part(None, f"away: {text}")})
        yield "attention", f"{name} under way", judged(**nothing | {name: Part(None, under_way=True)})


def _shipments(text: str) -> Iterator[Made]:
    listed = Listed(f"dash:{text[:ID]}", text, text, "DELIVERED", 1, True, AT, AT, None, None)
    every = [
        msgspec.structs.replace(listed, status=str(status), erased_at=erased, retired_at=retired)
        for status, erased, retired in product((*Status, text), (None, AT), (None, AT))
    ]
    query = ShipmentsQuery(text, tuple(Status), text, text, text)
    matches = (Match(f"dash:{text[:ID]}"), Match(f"dash:{text[:ID]}", text, text, text, AT))
    yield "shipments", "full", ShipmentList(query, matches, text, tuple(every), f"{AT}~{text}")
    yield "shipments", "empty", ShipmentList(ShipmentsQuery(), (), None, (), None)


def observation(outcome: Outcome, kind: AnomalyKind | None, counts: bool | None, text: str) -> ShownObservation:
    """Make a line of a timeline."""
    return ShownObservation(
        recorded_at=AT,
        received_at=AT,
        occurred_at=AT,
        occurred_at_source="assumed_zone",
        courier_status=text,
        status=None if kind is AnomalyKind.UNKNOWN_STATUS else "FAILED",
        source=str(Source.OPERATOR),
        outcome=str(outcome),
        version=1 if outcome is Outcome.EVENT else None,
        anomaly_kind=kind,
        anomaly=kind and f"dash:{text[:ID]}/anomaly/1:2/{kind}",
        counts=counts,
        raw="1:2",
        incarnation=1,
        replay_of="1:1",
        decided=Decided("accept", text, text, text),
    )


def event(version: int, before: str | None, status: str, text: str) -> dict[str, Any]:
    """Make an event as it was published."""
    return {
        "id": f"dash:{text[:ID]}/{version}",
        "type": "shipment.status_changed",
        "shipment_id": f"dash:{text[:ID]}",
        "version": version,
        "service": "express",
        "status": status,
        "previous_status": before,
        "transition": "forward",
        "skipped": ["PICKING_UP"] if before else [],
        "reason": f"{version} {text}",
        "personal": {"driver": {"name": text}, "proofs": [text] * version},
    }


def snapshot(text: str, **other: Any) -> dict[str, Any]:
    """Make a shipment's row."""
    row = {
        "shipment_id": f"dash:{text[:ID]}",
        "courier": "dash",
        "service": "express",
        "status": "DELIVERED",
        "final": True,
    }
    more = {"reason": text, "awbs": [text], "charges": {"cod": 1}, "personal": {"driver": {"name": text}}}
    return {**row, **more, "erased_at": None, "retired_at": None, **other}


def requests(text: str) -> Iterator[AskRequest]:
    """Make requests to ask a courier, one for each way it may stand."""
    waits = AskRequest(text, f"dash:{text[:ID]}", text, text, NOW, None, None, None, 0, None)
    yield waits
    yield msgspec.structs.replace(waits, taken_at=NOW)
    for outcome in (*AskResult, MOVED, NOT_ASKED, text):
        yield msgspec.structs.replace(waits, taken_at=NOW, ended_at=NOW, outcome=outcome, appended=3, detail=text)


def _shipment(text: str) -> Iterator[Made]:
    lines = [
        observation(outcome, kind, counts, text)
        for outcome, counts in product(Outcome, (None, True, False))
        for kind in (AnomalyKind if outcome is Outcome.ANOMALY else [None])
    ]
    ways = ((None, "ALLOCATING"), ("ALLOCATING", "IN_DELIVERY"), ("IN_DELIVERY", "DELIVERED"), ("DELIVERED", "LOST"))
    events = [event(number, before, status, text) for number, (before, status) in enumerate(ways, 1)]
    rows = {
        "as usual": snapshot(text),
        "erased": snapshot(text, erased_at=AT, personal={}),
        "archived": snapshot(text, retired_at=AT),
        "a service nobody knows": snapshot(text, service=text, status=text),
        "without a status": None,
    }
    asks = Requests(tuple(requests(text)), is_asking=False)
    for (what, row), personal in product(rows.items(), (False, True)):
        told = ShownShipment(f"dash:{text[:ID]}", row, lines, [] if row is None else events)
        query = ShipmentQuery(personal=personal)
        yield "shipment", f"{what}, personal {personal}", page_of(told, query, asks, sees_personal=personal)
    empty = ShownShipment(f"dash:{text[:ID]}", rows["archived"], [], [])
    yield "shipment", "empty", page_of(empty, ShipmentQuery(), Requests(), sees_personal=True)
    many = [observation(Outcome.EVENT, None, True, text[:ID])] * 1_000, [event(1, "FAILED", "LOST", text[:ID])] * 1_000
    long = ShownShipment(f"dash:{text[:ID]}", rows["as usual"], *many)
    yield "shipment", "long", page_of(long, ShipmentQuery(until=500, events_until=500), asks, sees_personal=False)


def _anomalies(text: str) -> Iterator[Made]:
    rows = tuple(
        AnomalyRow(
            Anomaly(
                id=f"dash:{text[:ID]}/anomaly/1:2/{kind}",
                kind=kind,
                shipment_id=f"dash:{text[:ID]}",
                courier="dash",
                courier_status=text,
                status=status,
                observed=Observed(status, text, AT),
                received_at=AT,
                recorded_at=AT,
                source=Source.PUSH,
                raw=RawCoordinates("raw", 1, 2),
            ),
            state,
            text if state == "open" else None,
        )
        for kind, state, status in product(
            AnomalyKind, ("open", "settled", "dismissed", "accepted"), (None, Status.FAILED)
        )
    )
    query = AnomaliesQuery(tuple(AnomalyKind), (text,), (text,), text, text, True, text)
    yield "anomalies", "full", AnomalyList(query, rows, f"{AT}~0.1.2.3")
    yield "anomalies", "empty", AnomalyList(AnomaliesQuery(), (), None)
    yield "anomalies", "none on this page", AnomalyList(AnomaliesQuery(), (), f"{AT}~0.1.2.3")


def _letters(text: str) -> Iterator[Made]:
    letter = ShownLetter("1:2", "1:3", "open", text, text, text, text, 5, AT, AT, text, text)
    bare = ShownLetter("2/1:2", "2/1:2", "mended", "", "", None, None, None, None, AT, None, None)
    groups = (LetterGroup(text, text, 1, 2, AT, AT), LetterGroup("", None, 1, 0, AT, AT))
    query = DeadLettersQuery((), (text,), text, True, 3)
    yield "dead-letters", "full", DeadLetterList(query, NewestLetters(groups, (letter, bare), 2, True), 50)
    yield "dead-letters", "empty", DeadLetterList(DeadLettersQuery(), NewestLetters((), (), 0, False), None)
    unread = Today(readable=False, reason=text, detail=text)
    read = Today(readable=True, shipment_id=f"dash:{text[:ID]}", courier_status=text, known=False)
    for each, today, body, may in product((letter, bare), (unread, read), (None, text), (False, True)):
        headers: dict[str, str | None] = {} if each is bare else {text: text, "none": None}
        page = DeadLetterPage(each, headers, today, each is letter, body, may)
        yield "dead-letter", f"{each.state}, {today.readable}, {body is None}, {may}", page


def _others(text: str) -> Iterator[Made]:
    last = (LastWebhook("dash", AT, f"dash:{text[:ID]}"), LastWebhook("kiriminaja", None, None))
    statuses = (StatusCount("dash", "LOST", 3, 3), StatusCount("dash", "FAILED", 3, 1))
    couriers = (
        CourierDrift("dash", statuses, Lateness("dash", 3, 1.5, 2, 3), 2),
        CourierDrift("kiriminaja", (), None, 0),
    )
    for what, seen in {
        "full": Seen(Drift(AT, AT, couriers), NOW, None, under_way=False),
        "away": Seen(None, None, text, under_way=False),
        "under way": Seen(None, None, None, under_way=True),
    }.items():
        yield "couriers", what, CouriersPage(("dash",), last, seen)
    yield "replays", "empty", ReplayList((), under_way=False)
    job = ReplayJob(
        text, Mode.REPROCESS, {}, text, 5, JobStatus.RUNNING, text, text, NOW, NOW, alive=True, positions=(POSITION,)
    )
    queued = msgspec.structs.replace(job, mode=Mode.REDRIVE, selection={"background": True, "letters": 7}, alive=False)
    failed = msgspec.structs.replace(job, status=JobStatus.FAILED)
    yield "replays", "full", ReplayList(tuple(map(job_row, (job, queued, failed))), under_way=True)
    entries = tuple(
        Entry(number, AT, text, text, detail) for number, detail in enumerate(({text: text}, text, 7, None))
    )
    yield "log", "full", Log(LogQuery(text, text, text, text), entries, f"{AT}~1")
    yield "log", "empty", Log(LogQuery(), (), None)
    ours = "# Head\n\nA <b>word</b>\n\n| a | b |\n|---|---|\n| 1 | [x](y.md), [y](https://cloudevents.io) |\n"
    yield "contract", "full", ContractPage((TopicLine(text, None), TopicLine("shipment.events", 14.0)), ours)


def tails(text: str) -> Iterator[Made]:
    """Make the answers of `/tail`."""
    rows = tuple(
        TailRow(number, kind, AT, courier, shipment, text, "1:2", personal)
        for number, (kind, courier, shipment, personal) in enumerate(
            product(KINDS.values(), (None, text), (None, f"dash:{text[:ID]}"), (None, text, {text: [text]}))
        )
    )
    for personal in (False, True):
        yield "tail", f"full, personal {personal}", TailPage(personal, personal, 99, rows, None)
    yield "tail", "away", TailPage(False, True, 0, (), text or "away")
    yield "tail", "nothing yet", TailPage(False, False, 0, (), None)


def flows(text: str) -> Iterator[Made]:
    """Make the answers of `/flow`."""
    since = NOW - LOOK_BACK
    seen = [
        SeenRecord(since + BIN * place, outcome, status, delay)
        for place, (outcome, status, delay) in enumerate(product(Outcome, (None, *Status), (None, 0.04)))
    ]
    letters = [Outcomes(text, 3), Outcomes("misrouted", 10_000)]
    for what, found in {
        "full": flow_of(seen, 7, letters, since, NOW),
        "one record": flow_of(seen[2:3], 1, [], since, NOW),
        "nothing": flow_of([], 1, [], since, NOW),
    }.items():
        yield "flow", what, FlowPage(Seen(found, NOW, None, under_way=False))
    yield "flow", "away", FlowPage(Seen(None, None, text or "away", under_way=False))
    yield "flow", "under way", FlowPage(Seen(None, None, None, under_way=True))
