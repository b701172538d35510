"""Cases from the field: what merchants, programs and couriers' own pages tell, with what must come of it.

Behind them the neighbouring kinds that each case stands for.
"""

from typing import Any

import pytest

from schemas.vocabulary import Outcome
from tests.field import BEGAN, SECOND, Json, Played, body_of, check, line_of, load_cases, play
from tests.unit.ingest.doors import CREDENTIALS, FakePublisher, running_door

CASES = load_cases()
PLAYED = {name for name, case in CASES.items() if "shipments" in case["expect"] and "http" not in case["expect"]}
AT_THE_DOOR = {name for name, case in CASES.items() if "http" in case["expect"]}
IN_WORDS = {
    "55-raw_header_without_value",
    "56-door_clock_ahead",
    "57-raw_topic_grown_alone",
    "59-operator_mends_refused_final",
    "60-operator_finds_by_older_awb",
}
"""They need a broker, a clock, or an operator's commands, and have tests of their own."""


def test_every_case_is_looked_at() -> None:
    assert set(CASES) == PLAYED | AT_THE_DOOR | IN_WORDS


@pytest.mark.parametrize("name", sorted(PLAYED))
def test_case(name: str) -> None:
    case = CASES[name]
    check(play(case["steps"]), case["expect"])


@pytest.mark.parametrize("name", sorted(AT_THE_DOOR))
async def test_case_at_the_door(name: str) -> None:
    case, publisher, answers, played = CASES[name], FakePublisher(), [], Played()
    async with running_door(publisher) as door:
        for number, step in enumerate(case["steps"]):
            courier = step["path"].partition("?")[0].strip("/").rpartition("/")[2]
            credentials = CREDENTIALS[courier]
            token = credentials.get("Authorization", "").removeprefix("Bearer ")
            headers = {key: value.replace("{token}", token) for key, value in step.get("headers", {}).items()}
            answer = await door.ask(step.get("method", "POST"), step["path"], body_of(step), {**credentials, **headers})
            answers.append(answer.status)
            if answer.status == 200:
                played.step(step, BEGAN + number * SECOND)
    assert answers == case["expect"]["http"]
    assert len(publisher.records) == answers.count(200)
    check(played, case["expect"])


# --- Neighbours -----------------------------------------------------------------------------------------------------

NULLS: Json = dict.fromkeys(("shipped_at", "finished_at", "returned_at", "rejected_at"))
EXPRESS_MARK = {"trackingURL": "https://lacak.example/a"}
PICKED_UP = {"order_id": "O", "awb": "A", "shipped_at": "2026-11-23 10:00:00"}


def ka(method: str, *, package: Json | None = None, **item: Any) -> Json:
    body: Json = {"method": method, "data": [{"order_id": "O", **item}]}
    if package is not None:
        body["packages"] = [{"order_id": "O", **package}]
    return {"path": "/webhooks/kiriminaja", "body": body}


def instant(status: str, minute: int, **item: Any) -> Json:
    data = {"order_id": "O", "status": status, "event_date": f"2026-11-24T05:{minute:02}:00Z", **item}
    return {"path": "/webhooks/kiriminaja", "body": {"method": "update_instant_packages", "data": data}}


def dash(status: str, count: Any = 0, minute: int = 0, **more: Any) -> Json:
    own = {"COMPLETED": "completedAt", "FAILED": "failedAt", "CANCELLED": "cancelledAt"}.get(status, "updatedAt")
    body = {"deliveryID": "D", "status": status, "failedCount": count, own: f"2026-11-24T05:{minute:02}:00Z", **more}
    if status == "PENDING_DELIVERY":
        body.setdefault("pickupAt", body["updatedAt"])
    return {"path": "/webhooks/dash", "body": body}


def pull(*histories: tuple[Any, str], **details: Any) -> Json:
    """An answer; its entries as (code, time), oldest first."""
    entries = [{"status_code": code, "created_at": at, "status": f"scan {code}"} for code, at in histories]
    answer = {"status": True, "method": "shTracking", "details": {**PICKED_UP, **details}, "histories": entries[::-1]}
    return {"pull": "kiriminaja:O", "answer": answer}


SHIPPED = ka("shipped_packages", shipped_at="2026-11-23 09:00:00")
DELIVERED = ka("finished_packages", finished_at="2026-11-24 13:00:00")
CANCELLED = ka("canceled_packages", canceled_at="2026-11-24 10:00:00")
RETURNED = ka("returned_packages", returned_at="2026-11-25 09:00:00")
FAILED = ka("problem_packages", problem_at="2026-11-24 09:00:00")
DASH_FAILED = [dash("IN_DELIVERY", 0, 1, **EXPRESS_MARK), dash("FAILED", 1, 2, **EXPRESS_MARK)]
FAILED_EVENTS = ["status_changed IN_DELIVERY initial", "status_changed FAILED forward"]
LOGISTIC_FAILED = [dash("IN_DELIVERY", 0, 1), dash("FAILED", 1, 2)]
INITIAL = "status_changed IN_TRANSIT initial"
WAITING = ka("processed_packages")
QUEUED = "status_changed PENDING_PICKUP initial"

# what it is: steps, events of the one shipment, kinds of anomalies
KINDS: dict[str, tuple[list[Json], list[str], list[str]]] = {
    # the complete format
    "a return flag in the complete format has no time": (
        [SHIPPED, ka("returned_packages", date="2026-11-20T01:00:00Z", **NULLS), FAILED],
        [INITIAL, "status_changed RETURNING return", "corrected RETURNING"],
        [],
    ),
    "a rejection": (
        [
            WAITING,
            ka("rejected_packages", date="2026-11-20T01:00:00Z", **{**NULLS, "rejected_at": "2026-11-24T01:00:00Z"}),
        ],
        [QUEUED, "status_changed CANCELLED forward"],
        [],
    ),
    # what is left by an edge of its own
    "delivered, then return finished": (
        [DELIVERED, ka("return_finished_packages", return_finished_at="2026-11-25 09:00:00")],
        ["status_changed DELIVERED initial", "status_changed RETURNED reopened"],
        [],
    ),
    "cancelled, then returned": (
        [SHIPPED, CANCELLED, RETURNED],
        [INITIAL, "status_changed CANCELLED forward", "status_changed RETURNED reopened"],
        [],
    ),
    "cancelled, delivered, returned": (
        [CANCELLED, DELIVERED, RETURNED],
        ["status_changed CANCELLED initial", "status_changed DELIVERED reopened", "status_changed RETURNED reopened"],
        [],
    ),
    "delivered, and a webhook of the cancel before it comes late": (
        [DELIVERED, CANCELLED],
        ["status_changed DELIVERED initial", "history_added DELIVERED"],
        [],
    ),
    "cancelled, and the return before it comes late": (
        [ka("canceled_packages", canceled_at="2026-11-26 10:00:00"), RETURNED],
        ["status_changed CANCELLED initial", "corrected RETURNED correction"],
        [],
    ),
    "returned is not left": (
        [RETURNED, ka("finished_packages", finished_at="2026-11-26 13:00:00")],
        ["status_changed RETURNED initial"],
        ["illegal_transition"],
    ),
    "delivered is not cancelled": (
        [DELIVERED, ka("canceled_packages", canceled_at="2026-11-25 10:00:00")],
        ["status_changed DELIVERED initial"],
        ["illegal_transition"],
    ),
    "a return called off": (
        [SHIPPED, ka("returned_packages", date="2026-11-24 09:00:00", returned_at=None), DELIVERED],
        [INITIAL, "status_changed RETURNING return", "status_changed DELIVERED forward"],
        [],
    ),
    "a shipment booked again, picked up and nothing more": (
        [WAITING, CANCELLED, SHIPPED],
        [QUEUED, "status_changed CANCELLED forward", "history_added CANCELLED"],
        [],
    ),
    # EXPRESS behind its failure
    "a failed drop gets another driver": (
        [*DASH_FAILED, dash("PENDING_PICKUP", 1, 3, **EXPRESS_MARK)],
        [*FAILED_EVENTS, "status_changed PENDING_PICKUP reopened"],
        [],
    ),
    "a failed drop is disposed of": (
        [*DASH_FAILED, dash("DISPOSED", 1, 3)],
        [*FAILED_EVENTS, "status_changed DISPOSED reopened"],
        [],
    ),
    "a failed drop is back, the words between lost": (
        [*DASH_FAILED, dash("RETURNED", 1, 3)],
        [*FAILED_EVENTS, "status_changed RETURNED reopened"],
        [],
    ),
    "the failure is lost, the way back is told": (
        [DASH_FAILED[0], dash("IN_RETURN", 1, 3)],
        [FAILED_EVENTS[0], "status_changed RETURNING return over FAILED"],
        [],
    ),
    "the failure and the way back are lost": (
        [DASH_FAILED[0], dash("DISPOSED", 1, 3)],
        [FAILED_EVENTS[0], "status_changed DISPOSED forward over FAILED"],
        [],
    ),
    "no jump begins at a failure": (
        [*DASH_FAILED, dash("PICKING_UP", 1, 3)],
        FAILED_EVENTS,
        ["illegal_transition"],
    ),
    "the way back proves EXPRESS behind what was taken for LOGISTIC's failure": (
        [*LOGISTIC_FAILED, dash("PENDING_RETURN", 1, 3, **EXPRESS_MARK)],
        [*FAILED_EVENTS, "status_changed RETURNING return"],
        [],
    ),
    "another driver proves EXPRESS behind what was taken for LOGISTIC's failure": (
        [*LOGISTIC_FAILED, dash("PENDING_PICKUP", 1, 3, **EXPRESS_MARK)],
        [*FAILED_EVENTS, "status_changed PENDING_PICKUP recovery"],
        [],
    ),
    # LOGISTIC
    "a recovery into PENDING_PICKUP": (
        [*LOGISTIC_FAILED, dash("PENDING_PICKUP", 1, 3), dash("PENDING_PICKING_UP", 1, 4)],
        [*FAILED_EVENTS, "status_changed PENDING_PICKUP recovery", "updated PENDING_PICKUP"],
        [],
    ),
    "given up after a failure": (
        [*LOGISTIC_FAILED, dash("CANCELLED", 1, 3)],
        [*FAILED_EVENTS, "status_changed CANCELLED forward"],
        [],
    ),
    "given up after a failure that nobody heard of": (
        [LOGISTIC_FAILED[0], dash("CANCELLED", "1", 3)],
        [FAILED_EVENTS[0], "status_changed CANCELLED forward over FAILED"],
        [],
    ),
    "no cancel on the road": (
        [LOGISTIC_FAILED[0], dash("CANCELLED", 0, 3)],
        [FAILED_EVENTS[0]],
        ["illegal_transition"],
    ),
    "a raised count is a move though the word stays": (
        [*LOGISTIC_FAILED, dash("FAILED", "2", 3)],
        [*FAILED_EVENTS, "status_changed FAILED forward over PENDING_DELIVERY,IN_DELIVERY"],
        [],
    ),
    "an expired LOGISTIC delivery": (
        [dash("PREPARING"), dash("EXPIRED", 0, 1)],
        ["status_changed CREATED initial", "status_changed CANCELLED forward"],
        [],
    ),
    # hints
    "hints give way to an unmarked body": (
        [dash("PENDING_PICKUP"), dash("IN_DELIVERY", 0, 1)],
        [QUEUED, "status_changed IN_DELIVERY forward over PENDING_DELIVERY"],
        [],
    ),
    "hints give way to a proof": (
        [dash("QUEUEING"), dash("VERIFIED", 0, 1)],
        ["status_changed CREATED initial", "status_changed VERIFIED forward"],
        [],
    ),
    "proofs of both": (
        [dash("VERIFIED"), dash("ALLOCATING", 0, 1)],
        ["status_changed VERIFIED initial", "status_changed ALLOCATING forward"],
        ["service_conflict"],
    ),
    # words without a status
    "a shadow word for a shipment not known yet is no row": ([dash("ARRIVED_AT_HUB")], [], []),
    "a shadow word that proves another service": (
        [dash("IN_DELIVERY"), dash("ARRIVED_AT_DESTINATION", 0, 1, **EXPRESS_MARK)],
        ["status_changed IN_DELIVERY initial", "corrected IN_DELIVERY"],
        [],
    ),
    "validated in the singular": (
        [WAITING, ka("validated_package", shipping_cost="9000")],
        [QUEUED, "updated PENDING_PICKUP"],
        [],
    ),
    # instant
    "an instant failure is driven again": (
        [instant("sent", 1), ka("problem_packages", problem_at="2026-11-24T05:02:00Z"), instant("picked_up", 3)],
        [
            "status_changed IN_DELIVERY initial",
            "status_changed FAILED forward",
            "status_changed PENDING_DELIVERY recovery",
        ],
        [],
    ),
    "an instant failure goes back": (
        [instant("sent", 1), ka("problem_packages", problem_at="2026-11-24T05:02:00Z"), instant("return", 3)],
        ["status_changed IN_DELIVERY initial", "status_changed FAILED forward", "status_changed RETURNING return"],
        [],
    ),
    "a scan by the driver on the way back": (
        [instant("return", 1), instant("sent", 2), instant("delivered", 3)],
        ["status_changed RETURNING initial", "updated RETURNING", "status_changed DELIVERED forward"],
        [],
    ),
    "an instant delivery that comes back": (
        [instant("delivered", 1), instant("returned", 2)],
        ["status_changed DELIVERED initial", "status_changed RETURNED reopened"],
        [],
    ),
    # pulled histories
    "out and failed in one minute": (
        [pull((106, "2026-11-24 09:00:00"), (152, "2026-11-24 14:30:00"), (500, "2026-11-24 14:30:00"))],
        [INITIAL, "status_changed PENDING_DELIVERY recovery over FAILED", "status_changed FAILED forward"],
        [],
    ),
    "one more scan of the minute in a later answer": (
        [
            pull((106, "2026-11-24 09:00:00"), (500, "2026-11-24 14:30:00")),
            pull((106, "2026-11-24 09:00:00"), (500, "2026-11-24 14:30:00"), (106, "2026-11-24 14:30:00")),
        ],
        [INITIAL, "status_changed FAILED forward", "status_changed IN_TRANSIT recovery"],
        [],
    ),
    "a webhook stands behind all scans of its minute": (
        [
            ka("problem_packages", problem_at="2026-11-24 14:30:00"),
            pull((152, "2026-11-24 14:30:00")),
        ],
        ["status_changed FAILED initial", "corrected FAILED"],
        [],
    ),
    "two scans in one minute of pre-transit": (
        [pull((101, "2026-11-22 08:00:00"), (105, "2026-11-22 08:00:00"))],
        [QUEUED, "history_added PENDING_PICKUP"],
        [],
    ),
    "asked before the pick-up, and again after it": (
        [
            pull((100, "2026-11-17 14:40:42"), shipped_at=""),
            pull((100, "2026-11-17 14:40:42"), (100, "2026-11-23 10:00:00")),
        ],
        ["status_changed CREATED initial", "status_changed IN_TRANSIT forward over PENDING_PICKUP"],
        [],
    ),
    "a zero date for the pick-up": (
        [pull((100, "2026-11-17 14:40:42"), shipped_at="0000-00-00 00:00:00")],
        ["status_changed CREATED initial"],
        [],
    ),
    "what was told already, at its minute, and changes nothing": (
        [
            ka("finished_packages", awb="A", finished_at="2026-11-24 14:30:00"),
            ka("finished_packages", awb="A", finished_at="2026-11-24 14:31:00", reason="R"),
            pull((200, "2026-11-24 14:30:00")),
        ],
        ["status_changed DELIVERED initial", "updated DELIVERED", "corrected DELIVERED"],
        [],
    ),
    "destroyed by the courier": (
        [pull((106, "2026-11-24 09:00:00"), (333, "2026-11-25 09:00:00"))],
        [INITIAL, "status_changed DISPOSED forward"],
        [],
    ),
    "codes that say nothing and codes nobody knows": (
        [pull((106, "2026-11-24 09:00:00"), (210, "2026-11-24 10:00:00"), (999, "2026-11-24 11:00:00"), ("x", ""))],
        [INITIAL, "updated IN_TRANSIT"],
        ["unknown_status", "unknown_status"],
    ),
    "refused at the door, and back": (
        [pull(("106", "2026-11-24 09:00:00"), ("301", "2026-11-24 10:00:00"), ("404", "2026-11-24 11:00:00"))],
        [INITIAL, "status_changed FAILED forward", "status_changed RETURNING return"],
        [],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_neighbour(kind: str) -> None:
    steps, events, anomalies = KINDS[kind]
    played = play(steps)
    assert [line_of(event) for told in played.events.values() for event in told] == events
    assert [each["kind"] for each in played.anomalies] == anomalies
    assert played.dead == []
    assert played.outcomes.total() == len(played.anomalies) - anomalies.count("service_conflict") + len(events) + (
        played.outcomes[Outcome.UNCHANGED] + played.outcomes[Outcome.DUPLICATE]
    )


def test_a_pulled_entry_whose_status_and_time_are_there_and_that_changes_nothing_is_a_duplicate() -> None:
    """It stays in the fold all the same, and one of another minute is history."""
    details = {"order_id": "O", "awb": None, "shipped_at": "2026-11-23 10:00:00"}

    def answer(minute: str, **entry: Any) -> Json:
        entries = [{"status_code": 200, "created_at": f"2026-11-24 14:{minute}:00", "status": "", **entry}]
        return {"status": True, "details": details, "histories": entries}

    played = play([ka("finished_packages", finished_at="2026-11-24 14:30:00")])
    assert played.pulled("kiriminaja:O", answer("30"), BEGAN + SECOND) == ["duplicate"]
    assert len(played.shipments["kiriminaja:O"].entries) == 2
    assert played.pulled("kiriminaja:O", answer("29"), BEGAN + 2 * SECOND) == ["event"]
    assert [line_of(each) for each in played.events["kiriminaja:O"]] == [
        "status_changed DELIVERED initial",
        "history_added DELIVERED",
    ]


@pytest.mark.parametrize("method", ["shipped_packages", "finished_packages", "update_instant_packages"])
def test_a_word_in_the_singular_is_a_repeat_of_the_plural(method: str) -> None:
    one = instant("sent", 1) if method.startswith("update") else ka(method, awb="A")
    other = {**one, "body": {**one["body"], "method": method.removesuffix("s")}}
    played = play([one, other])
    assert (played.outcomes[Outcome.EVENT], played.outcomes[Outcome.DUPLICATE]) == (1, 1)
    assert played.states["kiriminaja:O"]["courier_status"] in {method, "sent"}
