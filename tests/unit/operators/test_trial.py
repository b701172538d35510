"""What a trial tells of bodies: the pieces, what of each is taken and why not, and what comes of them."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

import schemas.couriers
from operators.trial.parts import MAX_PARTS, Fate, Part
from operators.trial.report import Body, Trial, TriedRecord
from operators.trial.run import EXPLAINED, Bench, samples_of, try_answers, try_webhooks
from runtime.settings import load_settings
from runtime.values import MASK
from schemas.couriers import COURIERS
from tests.field import BEGAN, body_of, line_of, load_cases
from tests.unit.schemas.examples import SAMPLES
from tests.unit.schemas.reading import RECEIVED, dash, entry, kiriminaja, read, said, tracking

FOLDER = Path(schemas.couriers.__file__).parent
SAMPLED = {
    name: samples_of(courier, [path.read_bytes() for path in sorted((FOLDER / name / "samples").rglob("*.json"))])
    for name, courier in COURIERS.items()
}


def tried(courier: str, *bodies: Any, began: Any = RECEIVED, personal: bool = True, **environ: str) -> Trial:
    contents = [body if isinstance(body, bytes) else json.dumps(body).encode() for body in bodies]
    bench = Bench(COURIERS[courier], load_settings(environ), SAMPLED[courier], began, show_personal=personal)
    return try_webhooks(bench, [Body(f"{place}.json", each) for place, each in enumerate(contents, start=1)])


def records(trial: Trial) -> list[TriedRecord]:
    return [record for webhook in trial.webhooks for record in webhook.records]


def parts(courier: str, body: Any) -> dict[str, Part]:
    (record,) = records(tried(courier, body))
    assert record.parts is not None
    return {part.path: part for part in record.parts}


def events(trial: Trial) -> dict[str, list[str]]:
    """Return the events of each shipment, as the field's cases write them."""
    told: dict[str, list[str]] = {}
    for record in records(trial):
        for one in record.published:
            if one.topic == "shipment.events":
                told.setdefault(one.value["shipment_id"], []).append(line_of(one.value))
    return told


def of_one_courier() -> dict[str, tuple[str, dict[str, Any]]]:
    """Return the field's cases that are webhooks of one courier, with it."""
    found = {}
    for name, case in load_cases().items():
        couriers = {step.get("path", "").removeprefix("/webhooks/") for step in case["steps"]}
        if "shipments" in case["expect"] and "http" not in case["expect"] and len(couriers) == 1:
            found[name] = (couriers.pop(), case)
    return {name: each for name, each in found.items() if each[0] in COURIERS}


CASES = of_one_courier()


@pytest.mark.parametrize("name", CASES)
def test_it_comes_to_what_the_processor_makes(name: str) -> None:
    courier, case = CASES[name]
    trial = tried(courier, *(body_of(step) for step in case["steps"]), began=BEGAN)
    expected = case["expect"]["shipments"]
    assert events(trial) == {each: said["events"] for each, said in expected.items() if said["events"]}
    rows = {each.shipment_id: each.state["status"] for each in trial.shipments if each.state}
    assert rows == {each: said["status"] for each, said in expected.items()}
    dead = [record.dead_letter.reason for record in records(trial) if record.dead_letter]
    assert len(dead) == len(case["expect"].get("dead", []))


def test_there_are_such_cases() -> None:
    assert len(CASES) > 15


@pytest.mark.parametrize("sample", [name for name in SAMPLES if "/tracking/" not in name])
def test_what_is_not_looked_at_can_all_be_left_out(sample: str) -> None:
    """And what is taken cannot: so no value is in the wrong list."""
    courier, body = sample.partition("/")[0], json.loads(SAMPLES[sample].read_bytes())
    for record in records(tried(courier, SAMPLES[sample].read_bytes())):
        assert record.parts is not None
        (piece,) = [each for each in COURIERS[courier].split(json.dumps(body).encode()) if reference_of(each, record)][
            :1
        ]
        whole = said(read(courier, piece.value))
        left = json.loads(piece.value)
        for part in reversed(record.parts):
            if part.fate is Fate.UNREAD:
                assert part.in_samples
                take_out(left, part.path)
        assert said(read(courier, left)) == whole
        assert {part.fate for part in record.parts} >= {Fate.TAKEN}


def reference_of(piece: Any, record: TriedRecord) -> bool:
    return bool(piece.reference and record.key.endswith(piece.reference))


def take_out(body: Any, path: str) -> None:
    names = [int(name) if name.isdigit() else name for name in path.replace("[", ".").replace("]", "").split(".")]
    for name in names[:-1]:
        body = body[name]
    del body[names[-1]]


PICKED_UP = "2025-06-01 10:00:00"
WHY: dict[str, tuple[str, Any, str, str]] = {
    "null": ("dash", dash("FAILED", failedReason=None), "failedReason", "null says nothing"),
    "empty": ("dash", dash("FAILED", failedReason=""), "failedReason", "empty, and says nothing"),
    "another kind": ("dash", dash("FAILED", failedReason=7), "failedReason", "a number, where a text is read"),
    "no object": ("dash", dash(quote="21000"), "quote", "a text, where an object is read"),
    "in the future": (
        "dash",
        dash("FAILED", failedAt="2031-01-01T00:00:00Z"),
        "failedAt",
        "read, but not believed: a time more than a day after it was received",
    ),
    "no time": (
        "dash",
        dash("FAILED", failedAt="yesterday"),
        "failedAt",
        "a text that changes nothing: not of the form that counts, or it says what holds without it",
    ),
    "as without it": (
        "dash",
        dash(failedCount=0),
        "failedCount",
        "says what holds without it",
    ),
    "behind another": (
        "kiriminaja",
        kiriminaja(shipping_price=9000, shipping_cost=8000),
        "data[0].shipping_cost",
        "gives way to data[0].shipping_price",
    ),
    "twice": (
        "kiriminaja",
        {**kiriminaja(shipped_at=PICKED_UP), "packages": [{"order_id": "X", "service": "jne"}]},
        "packages[0].order_id",
        "says the same as data[0].order_id",
    ),
}


@pytest.mark.parametrize("kind", WHY)
def test_why_a_part_is_dropped(kind: str) -> None:
    courier, body, path, why = WHY[kind]
    part = parts(courier, body)[path]
    assert (part.fate, part.why) == (Fate.DROPPED, why)


def test_what_the_taken_parts_give() -> None:
    found = parts("dash", dash("FAILED", failedCount=1, failedAt="2025-06-01T10:00:00Z", courier={"name": "Agus"}))
    assert {path: part.gives for path, part in found.items()} == {
        "deliveryID": ("reference",),
        "status": ("word", "status", "times.failedAt", "hints", "proves"),
        "failedCount": ("count",),
        "failedAt": ("times.failedAt",),
        "courier.name": ("driver.name",),
    }
    assert found["deliveryID"].needed == "no_shipment, deliveryID is missing or no text"
    assert found["failedAt"].needed is None


def test_fields_that_nobody_announced_are_told() -> None:
    found = parts("dash", dash(colour="red", sender={"phone": "0811", "mood": "good"}))
    new = {path for path, part in found.items() if part.fate is Fate.UNREAD and not part.in_samples}
    assert new == {"colour", "sender.mood"}


def test_a_word_that_nobody_announced_is_told() -> None:
    trial = tried("dash", dash("LEVITATING"))
    (record,) = records(trial)
    assert record.said is not None
    assert (record.said.known, record.said.status, record.outcome) == (False, None, "anomaly")
    assert record.why == "LEVITATING is none of dash's words that are known here"
    assert record.published[0].value["kind"] == "unknown_status"
    assert trial.all_read


DEAD: dict[str, tuple[bytes, str, tuple[int, int, int] | None]] = {
    "no JSON": (b'{"deliveryID": oops}', "invalid_json", (15, 1, 16)),
    "on another line": (b'{\n  "deliveryID": "D",\n  "status": }', "invalid_json", (35, 3, 13)),
    "behind a byte order mark": (b"\xef\xbb\xbf{]", "invalid_json", (4, 1, 5)),
    "cut off": (b'{"deliveryID":"D","status":"FAI', "invalid_json", (31, 1, 32)),
    "no UTF-8": (b'{"deliveryID":"\xff"}', "invalid_json", (15, 1, 16)),
    "too deep": (b'{"a":' + b"[" * 300, "too_deep", (204, 1, 205)),
    "no shipment": (b'{"status":"FAILED"}', "no_shipment", (0, 1, 1)),
    "no object": (b"[1]", "unknown_shape", (0, 1, 1)),
}


@pytest.mark.parametrize("kind", DEAD)
def test_what_the_dead_letter_would_say_and_where(kind: str) -> None:
    body, reason, at = DEAD[kind]
    trial = tried("dash", body)
    (record,) = records(trial)
    assert record.dead_letter is not None
    place = record.dead_letter.at
    assert record.dead_letter.reason == reason
    assert (place and (place.byte, place.line, place.column)) == at
    assert not trial.all_read


def test_where_an_item_stands_that_cannot_be_read() -> None:
    body = b'{"method":"shipped_packages","data":[{"order_id":"A"},\n {"awb":""}]}'
    (good, bad) = records(tried("kiriminaja", body))
    assert good.at is not None
    assert bad.dead_letter is not None
    assert bad.dead_letter.at is not None
    assert (good.at.byte, bad.dead_letter.at.byte, bad.dead_letter.at.line) == (37, body.index(b'{"awb"'), 2)


def test_where_entries_stand_that_are_no_objects() -> None:
    body = b'{"method":"finished_packages","data":[null,{"order_id":"A"},"null", 7]}'
    found = [record.at and record.at.byte for record in records(tried("kiriminaja", body))]
    assert found == [body.index(b"null"), body.index(b'{"order_id'), body.index(b'"null"'), body.index(b"7")]


def test_what_would_make_a_record_readable() -> None:
    found = parts("kiriminaja", kiriminaja(order_id=12345, foo="bar"))
    assert (found["data[0].order_id"].fate, found["data[0].order_id"].why) == (
        Fate.DROPPED,
        "a number, where a text is read",
    )
    assert {found[path].fate for path in ("data[0].foo", "method")} == {Fate.UNREAD}


def test_several_bodies_are_received_a_second_apart_and_fold_together() -> None:
    out, failed, late = (
        dash("IN_DELIVERY", updatedAt="2025-06-01T09:00:00Z"),
        dash("FAILED", failedCount=1, failedAt="2025-06-01T10:00:00Z"),
        dash("PENDING_DELIVERY", updatedAt="2025-06-01T08:00:00Z"),
    )
    trial = tried("dash", failed, out, late, failed)
    assert [record.outcome for record in records(trial)] == ["event", "event", "event", "duplicate"]
    assert records(trial)[-1].why == "1:1 says it already"
    (shipment,) = trial.shipments
    assert [(each.record, each.before, each.accepted) for each in shipment.fold] == [
        ("3:1", None, True),
        ("2:1", "PENDING_DELIVERY", True),
        ("1:1", "IN_DELIVERY", True),
    ]
    assert shipment.state is not None
    assert (shipment.state["status"], shipment.state["version"]) == ("FAILED", 3)
    received = [msgspec.json.decode(json.dumps(each.received_at), type=type(RECEIVED)) for each in trial.webhooks]
    assert received == [RECEIVED + timedelta(seconds=place) for place in range(4)]


def test_a_refused_move_says_what_it_may_not_follow() -> None:
    done = dash("COMPLETED", completedAt="2025-06-01T09:00:00Z", updatedAt="2025-06-01T09:00:00Z")
    (_, refused) = records(tried("dash", done, dash("CANCELLED", cancelledAt="2025-06-01T10:00:00Z")))
    assert (refused.outcome, refused.why) == ("anomaly", "CANCELLED may not follow DELIVERED")


def test_details_alone_leave_no_row() -> None:
    trial = tried("dash", dash("ON_HOLD"))
    (record,) = records(trial)
    assert (record.outcome, record.published) == ("unchanged", ())
    assert trial.shipments[0].state is None


@pytest.mark.parametrize(("body", "answer"), [(b"", 400), (b" " * 33, 413)])
def test_the_door_takes_not_every_body(body: bytes, answer: int) -> None:
    trial = tried("dash", body, WAYBILL_INGEST_MAX_BODY_BYTES="32")
    assert (trial.webhooks[0].answer, trial.webhooks[0].records) == (answer, ())
    assert not trial.all_read


def test_personal_data_is_hidden_unless_asked_for() -> None:
    body = dash(
        "FAILED",
        courier={"name": "Agus", "phone": "0811-AGUS"},
        recipient={"phone": "0811-SITI"},
        media=[{"type": "FAILED_PROOF", "url": "https://foto.example/AGUS"}],
        failedReason="nobody at home",
    )
    hidden = msgspec.json.encode(tried("dash", body, personal=False)).decode()
    for word in ("Agus", "0811", "foto.example"):
        assert word not in hidden
        assert word in msgspec.json.encode(tried("dash", body)).decode()
    assert "nobody at home" in hidden
    assert MASK in hidden


def test_nothing_grows_without_a_bound() -> None:
    many = {"method": "shipped_packages", "data": [{"order_id": f"O-{place}"} for place in range(EXPLAINED + 5)]}
    trial = tried("kiriminaja", many)
    assert [record.parts is None for record in records(trial)] == [False] * EXPLAINED + [True] * 5
    assert trial.unexplained == 5
    (wide,) = records(tried("dash", dash(**{f"f{place}": place for place in range(MAX_PARTS)})))
    assert (wide.outcome, wide.parts) == ("event", None)


@pytest.mark.parametrize("body", [dash(odd=float("1e300"), name="\ud800", **{"a b": 1}), dash(failedCount=10**400)])
def test_odd_values_do_no_harm(body: Any) -> None:
    (record,) = records(tried("dash", body))
    assert record.outcome == "event"
    assert record.parts


def test_answers_of_the_couriers_api() -> None:
    first = tracking(entry(100, "2025-05-30 17:00:00"))
    second = tracking(entry(200, "2025-05-31 09:00:00"), entry(100, "2025-05-30 17:00:00"))
    bench = Bench(COURIERS["kiriminaja"], load_settings({}), {}, RECEIVED)
    bodies = [Body(f"{place}.json", json.dumps(each).encode()) for place, each in enumerate((first, second))]
    trial = try_answers(bench, bodies, "X")
    assert [(len(each.records), each.unappended, each.answer) for each in trial.webhooks] == [
        (1, 0, None),
        (1, 1, None),
    ]
    assert list(events(trial)) == ["kiriminaja:X"]
    (_, news) = records(trial)
    assert news.at is not None
    assert bodies[1].content[news.at.byte :].startswith(b'{"created_at": "2025-05-31 09:00:00"')
    assert events(trial)["kiriminaja:X"][-1].startswith("status_changed DELIVERED")


@pytest.mark.parametrize("answer", [b"{}", b"no JSON", json.dumps(tracking(details={"order_id": "Y"})).encode()])
def test_what_is_no_answer_about_the_shipment(answer: bytes) -> None:
    bench = Bench(COURIERS["kiriminaja"], load_settings({}), {}, RECEIVED)
    trial = try_answers(bench, [Body("answer.json", answer)], "X")
    assert trial.webhooks[0].refused
    assert not trial.all_read
