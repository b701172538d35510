"""From arrival to output, by examples: what was told before, what arrives, what comes of it.

`ARRIVALS` follows the table of that name in the specification, a row or more for each of its lines: the pure core takes
real bodies through reading, fold, `apply` and plan. `FOLDS` shows the order the fold puts observations in, and how it
judges them. What holds for every life, and not for an example, is in `tests/property/`.
"""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from processor.core.outputs import Output
from processor.core.plan import Planner
from processor.core.reading import authorized, read
from processor.core.state import Shipment
from schemas.couriers import COURIERS
from schemas.decisions import write_decision
from schemas.observation import Dismiss
from schemas.records import Provenance, RawRecord, read_provenance
from schemas.topics import Topic
from schemas.vocabulary import Outcome, Source
from tests.field import Json, body_of, line_of, zone_of
from tests.unit.schemas.reading import answered
from tests.unit.test_field import EXPRESS_MARK, dash, ka, pull

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
LIMIT = 5
"""Observations that a shipment keeps here."""


class Core:
    """The pure core, which takes one step after the other.

    A step is a webhook, an answer to a pull, the offset of a record to be read `again`, or an operator's `decision`.
    """

    def __init__(self) -> None:
        self.shipments: dict[str, Shipment] = {}
        self.records: list[RawRecord] = []
        self.outcomes: Counter[Outcome] = Counter()
        self.dead = 0

    def take(self, step: Json) -> list[str]:
        """Return what a step leads to: a line for each event, anomaly and dead letter, else the outcome."""
        return [line for record in self._records(step) for line in self._take(record)]

    def _records(self, step: Json) -> list[RawRecord]:
        received = NOON + timedelta(seconds=len(self.records))
        if "again" in step:
            root = self.records[step["again"]]
            again = read_provenance(root.headers, root.timestamp_ms)
            again = msgspec.structs.replace(again, source=Source.REPLAY, replay_of=f"0:{root.offset}")
            return [self._record(root.value or b"", again)]
        if "decision" in step:
            decided = Provenance(courier="dash", received_at=received, source=Source.OPERATOR, command_id="c")
            return [self._record(step["decision"], decided)]
        if "pull" in step:
            courier, source = step["pull"].partition(":")[0], Source.PULL
            pieces = answered(courier, json.dumps(step["answer"]).encode(), "O")
            assert isinstance(pieces, list)
        else:
            courier, source = step["path"].rpartition("/")[2], Source.PUSH
            pieces = COURIERS[courier].split(body_of(step))
        came = Provenance(courier=courier, received_at=received, source=source)
        return [
            self._record(each.value, msgspec.structs.replace(came, item=item)) for item, each in enumerate(pieces, 1)
        ]

    def _record(self, value: bytes, provenance: Provenance) -> RawRecord:
        stamp = int(provenance.received_at.timestamp() * 1000)
        record = RawRecord(0, len(self.records), None, value, tuple(provenance.headers()), stamp)
        self.records.append(record)
        return record

    def _take(self, record: RawRecord) -> list[str]:
        readings = authorized([read(record, zone_of, 1)], set())
        made = Planner(self.shipments, "raw", NOON, limit=LIMIT).add_all(readings)
        self.shipments |= made.shipments
        self.outcomes.update(row.outcome for row in made.observations)
        self.dead += len(made.dead_letters)
        return [_line(output) for output in made.outputs] or [str(row.outcome) for row in made.observations]


def _line(output: Output) -> str:
    if output.topic is Topic.DEAD_LETTERS:
        return f"dead letter {dict(output.headers)['dlq-reason'].decode()}"  # type: ignore[union-attr]
    said = json.loads(output.value or b"")
    if output.topic is Topic.ANOMALIES:
        return f"anomaly {said['kind']}"
    was = f" after {said['previous_status']}" if said["previous_status"] else ""
    return f"{line_of(said)}{was}{' resolves' if said['resolves'] else ''}"


def express(word: str, minute: int, count: int = 0, **more: Any) -> Json:
    """A body of Dash EXPRESS."""
    return dash(word, count, minute, **EXPRESS_MARK, **more)


def logistic(word: str, minute: int, count: int = 0, **more: Any) -> Json:
    """A body of Dash LOGISTIC."""
    return dash(word, count, minute, **more)


def scan(code: int, at: str) -> Json:
    """An answer with one entry, without any text."""
    step = pull((code, at))
    step["answer"]["histories"][0]["status"] = ""
    return step


def garbage(body: object) -> Json:
    return {"path": "/webhooks/dash", "body": body}


ON_THE_ROAD = [logistic("VERIFIED", 1), logistic("PENDING_DELIVERY", 2), logistic("IN_DELIVERY", 3)]
PICKED_UP = [express("PENDING_PICKUP", 1), express("PICKING_UP", 2)]
UNWRITTEN = write_decision(Dismiss(shipment_id="dash:D", by="ani", reason="R", anomaly_id="dash:D/anomaly/0:1/x"))

# arrival: what was told before, what arrives, what comes of it
ARRIVALS: dict[str, tuple[list[Json], Json, str]] = {
    "applied: first seen": ([], logistic("IN_DELIVERY", 1), "status_changed IN_DELIVERY initial"),
    "applied: the status moves": (
        ON_THE_ROAD,
        logistic("COMPLETED", 4),
        "status_changed DELIVERED forward after IN_DELIVERY",
    ),
    "applied: the status moves, webhooks between were lost": (
        ON_THE_ROAD[:1],
        logistic("COMPLETED", 4),
        "status_changed DELIVERED forward over PENDING_DELIVERY,IN_DELIVERY after VERIFIED",
    ),
    "applied: a delivery that failed goes out again": (
        [*ON_THE_ROAD[:2], logistic("FAILED", 4, 1)],
        logistic("PENDING_DELIVERY", 5, 1),
        "status_changed PENDING_DELIVERY recovery after FAILED",
    ),
    "applied: it goes out again, and its FAILED was lost": (
        ON_THE_ROAD,
        logistic("PENDING_DELIVERY", 5, 1),
        "status_changed PENDING_DELIVERY recovery over FAILED after IN_DELIVERY",
    ),
    "applied: another driver is looked for": (
        PICKED_UP,
        express("PENDING_PICKUP", 3),
        "status_changed PENDING_PICKUP reassignment after PICKING_UP",
    ),
    "applied: the parcel goes back": (
        [*ON_THE_ROAD[:2], logistic("FAILED", 4, 1)],
        logistic("IN_RETURN", 5, 1),
        "status_changed RETURNING return after FAILED",
    ),
    "applied: what was final is not, says the courier": (
        [ka("finished_packages", finished_at="2026-11-24 13:00:00")],
        ka("returned_packages", returned_at="2026-11-25 09:00:00"),
        "status_changed RETURNED reopened after DELIVERED",
    ),
    "applied: the status stays, details change": (
        PICKED_UP,
        express("PICKING_UP", 3, courier={"name": "Ani"}),
        "updated PICKING_UP after PICKING_UP",
    ),
    "applied: the status stays, nothing visible changes": (
        PICKED_UP,
        express("PICKING_UP", 3),
        "updated PICKING_UP after PICKING_UP",
    ),
    "applied: a known word without a status": (
        ON_THE_ROAD,
        logistic("ARRIVED_AT_HUB", 4),
        "updated IN_DELIVERY after IN_DELIVERY",
    ),
    "corrected: it comes late, and the status is another": (
        [*PICKED_UP, express("CANCELLED", 9)],
        express("COMPLETED", 8),
        "corrected DELIVERED correction after CANCELLED",
    ),
    "corrected: it comes late, the status stays, a detail is news": (
        PICKED_UP,
        express("ALLOCATING", 0, providerOrderID="ORDER-1"),
        "corrected PICKING_UP after PICKING_UP",
    ),
    "corrected: it comes late, and what was refused counts now": (
        [express("IN_DELIVERY", 1), express("CANCELLED", 9)],
        express("PENDING_PICKUP", 8),
        "corrected CANCELLED correction after IN_DELIVERY resolves",
    ),
    "late: it comes late and changes nothing": (
        ON_THE_ROAD,
        logistic("QUEUEING", 0),
        "history_added IN_DELIVERY after IN_DELIVERY",
    ),
    "illegal: the table has no way": (
        [*ON_THE_ROAD, logistic("COMPLETED", 4)],
        logistic("PENDING_RETURN", 5),
        "anomaly illegal_transition",
    ),
    "unknown: a word that nobody knows": (ON_THE_ROAD, logistic("TELEPORTED", 4), "anomaly unknown_status"),
    "unknown: such a word makes no row": ([], logistic("TELEPORTED", 4), "anomaly unknown_status"),
    "duplicate: the same body again": (ON_THE_ROAD, ON_THE_ROAD[0], "duplicate"),
    "duplicate: a pulled entry whose status and time are known": (
        [ka("finished_packages", finished_at="2026-11-24 13:00:00", awb="A")],
        scan(200, "2026-11-24 13:00:00"),
        "duplicate",
    ),
    "beyond the limit: as many observations are kept as may be": (
        [*ON_THE_ROAD, logistic("ARRIVED_AT_HUB", 4), logistic("ARRIVED_AT_HUB", 5)],
        logistic("COMPLETED", 6),
        "anomaly history_limit",
    ),
    "unchanged: a record read again says what it said": (ON_THE_ROAD, {"again": 1}, "unchanged"),
    "unchanged: details of a shipment not known yet": ([], logistic("ARRIVED_AT_HUB", 1), "unchanged"),
    "no observation: no JSON": ([], {"path": "/webhooks/dash", "body_b64": "fg=="}, "dead letter invalid_json"),
    "no observation: no object": ([], garbage(7), "dead letter unknown_shape"),
    "no observation: no shipment": ([], garbage({"status": "FAILED"}), "dead letter no_shipment"),
    "no observation: no word": ([], garbage({"deliveryID": "D"}), "dead letter unknown_shape"),
    "no observation: a decision that no command wrote down": (
        ON_THE_ROAD,
        {"decision": UNWRITTEN},
        "dead letter unauthorized",
    ),
}
BESIDE = ([logistic("VERIFIED", 1)], express("ALLOCATING", 2))
"""What proves both services: its own outcome, and an anomaly beside it."""


@pytest.mark.parametrize("arrival", ARRIVALS)
def test_from_arrival_to_output(arrival: str) -> None:
    before, arrives, output = ARRIVALS[arrival]
    core = Core()
    for step in before:
        core.take(step)
    assert core.take(arrives) == [output]
    assert core.outcomes.total() + core.dead == len(core.records), "every record has an outcome or is a dead letter"


def test_a_proof_of_two_services_stands_beside_the_outcome() -> None:
    core = Core()
    for step in BESIDE[0]:
        core.take(step)
    assert core.take(BESIDE[1]) == ["status_changed ALLOCATING forward after VERIFIED", "anomaly service_conflict"]
    assert core.outcomes == {Outcome.EVENT: 2}


# what it shows: what arrives in this order; the order that the fold puts it in, (refused) ones in brackets; what it
# comes to
FOLDS: dict[str, tuple[list[Json], str, str]] = {
    "EXPRESS goes by the courier's clock": (
        [express("COMPLETED", 5), express("IN_DELIVERY", 4), express("ALLOCATING", 1)],
        "ALLOCATING IN_DELIVERY COMPLETED",
        "DELIVERED, 0 failed",
    ),
    "LOGISTIC goes by rank within a count, whatever the clock": (
        [logistic("IN_DELIVERY", 1), logistic("PENDING_DELIVERY", 2), logistic("VERIFIED", 3)],
        "VERIFIED PENDING_DELIVERY IN_DELIVERY",
        "IN_DELIVERY, 0 failed",
    ),
    "LOGISTIC: a higher count comes after, and FAILED is the first of its count": (
        [logistic("PENDING_DELIVERY", 1, 1), logistic("FAILED", 9, 1), logistic("IN_DELIVERY", 5)],
        "IN_DELIVERY FAILED PENDING_DELIVERY",
        "PENDING_DELIVERY, 1 failed",
    ),
    "KiriminAja: a final word comes last, whatever its time": (
        [
            ka("finished_packages", finished_at="2026-11-24 09:00:00"),
            ka("problem_packages", problem_at="2026-11-24 10:00:00"),
        ],
        "problem_packages finished_packages",
        "DELIVERED, 1 failed",
    ),
    "KiriminAja: failures are counted by the fold": (
        [pull((106, "2026-11-24 09:00:00"), (500, "2026-11-24 10:00:00"), (152, "2026-11-25 09:00:00"))],
        "106 500 152",
        "PENDING_DELIVERY, 1 failed",
    ),
    "the first is accepted whatever it says": ([express("COMPLETED", 1)], "COMPLETED", "DELIVERED, 0 failed"),
    "what is refused stays, and gives nothing": (
        [express("COMPLETED", 1), express("IN_DELIVERY", 2, courier={"name": "Ani"})],
        "COMPLETED (IN_DELIVERY)",
        "DELIVERED, 0 failed",
    ),
    "an unknown word takes no part": (
        [express("IN_DELIVERY", 1), express("TELEPORTED", 2)],
        "IN_DELIVERY",
        "IN_DELIVERY, 0 failed",
    ),
}


@pytest.mark.parametrize("what", FOLDS)
def test_the_fold_orders_and_judges(what: str) -> None:
    arrives, order, comes_to = FOLDS[what]
    core = Core()
    for step in arrives:
        core.take(step)
    (shipment,) = core.shipments.values()
    assert (
        " ".join(each.observation.word if each.accepted else f"({each.observation.word})" for each in shipment.entries)
        == order
    )
    snapshot = shipment.snapshot
    assert snapshot is not None
    assert f"{snapshot.status}, {snapshot.failed_count} failed" == comes_to
    assert snapshot.details.driver is None


# what it shows: what arrives; the reason, the driver and the order that are left
DETAILS: dict[str, tuple[list[Json], tuple[str | None, str | None, str | None]]] = {
    "the newest value that is given wins": (
        [
            express("PENDING_PICKUP", 1, courier={"name": "Ani"}, providerOrderID="ORDER-1"),
            express("PICKING_UP", 2, courier={"name": "Budi"}),
        ],
        (None, "Budi", "ORDER-1"),
    ),
    "a late one wins no longer": (
        [
            express("PICKING_UP", 2, courier={"name": "Budi"}),
            express("PENDING_PICKUP", 1, courier={"name": "Ani"}, providerOrderID="ORDER-1"),
        ],
        (None, "Budi", "ORDER-1"),
    ),
    "a reason belongs to the status": (
        [*ON_THE_ROAD, logistic("FAILED", 4, 1, failedReason="nobody at home")],
        ("nobody at home", None, None),
    ),
    "and goes with it": (
        [*ON_THE_ROAD[:2], logistic("FAILED", 4, 1, failedReason="nobody at home"), logistic("IN_RETURN", 5, 1)],
        (None, None, None),
    ),
}


@pytest.mark.parametrize("what", DETAILS)
def test_details_that_are_left(what: str) -> None:
    arrives, left = DETAILS[what]
    core = Core()
    for step in arrives:
        core.take(step)
    (shipment,) = core.shipments.values()
    assert shipment.snapshot is not None
    details = shipment.snapshot.details
    assert (details.reason, details.driver and details.driver.name, details.order_id) == left
