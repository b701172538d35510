"""What must hold once everything has healed, checked against the raw topic by the pure planner."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from processor.core.messages import messages
from processor.core.plan import Planner
from processor.core.reading import read
from processor.core.state import Shipment
from schemas.records import RawRecord
from schemas.topics import Topic
from tests.faults.courier import Answered
from tests.integration.system import START, System, assert_exactly_once


class Published(msgspec.Struct, frozen=True):
    """What the topics hold at the end, and what there is to count of it."""

    raw: Sequence[Any]
    events: Sequence[Any]
    states: Mapping[str, Any]
    counts: Counter[str]


async def assert_nothing_lost_nothing_twice(system: System, answered: Sequence[Answered]) -> Counter[str]:
    """Check every promise; return what there is to count."""
    found = await assert_kept_and_published(system, answered)
    raw, counts = found.raw, found.counts
    promised = {answer.webhook_id for answer in answered}
    counts["raw records of requests never answered"] = sum(
        dict(record.headers)["webhook-id"].decode() not in promised for record in raw
    )
    await assert_exactly_once(system)
    await assert_each_record_has_one_fate(system, raw)
    expected = _planned(system, raw)
    assert _by_shipment(found.events) == _by_shipment(expected[Topic.EVENTS])
    anomalies = [msgspec.json.decode(record.value) for record in await system.read(Topic.ANOMALIES)]
    assert Counter(item["id"] for item in anomalies) == Counter(item["id"] for item in expected[Topic.ANOMALIES])
    assert _plain(found.states) == _plain({state["shipment_id"]: state for state in expected[Topic.STATE]})
    counts["anomalies"] = len(anomalies)
    counts["dead letters"] = len(await system.read(Topic.DEAD_LETTERS))
    counts.update(
        {
            f"observations with the outcome {row['outcome']}": row["n"]
            for row in await system.rows("select outcome, count(*) as n from observations group by outcome")
        }
    )
    return counts


async def assert_kept_and_published(system: System, answered: Sequence[Answered]) -> Published:
    """Check what holds whichever edition has read a record: all is kept, no event twice, rows and states agree."""
    raw = await system.read(Topic.RAW)
    events = [msgspec.json.decode(record.value) for record in await system.read(Topic.EVENTS)]
    states = {record.key.decode(): msgspec.json.decode(record.value) for record in await system.read(Topic.STATE)}
    counts = Counter({"raw records": len(raw)})
    counts["raw records kept twice by the door"] = assert_all_kept(raw, answered)
    assert len({event["id"] for event in events}) == len(events)
    await assert_rows_agree(system, states)
    counts["events"] = len(events)
    counts["shipments delivered"] = assert_none_goes_on_once_delivered(events)
    counts["shipments"] = len(states)
    return Published(raw, events, states, counts)


def assert_all_kept(raw: Sequence[Any], answered: Sequence[Answered]) -> int:
    """Every item of every webhook answered 200 is in the raw topic. Return how many are there more than once."""
    kept: dict[str, Counter[str]] = {}
    for record in raw:
        headers = dict(record.headers)
        kept.setdefault(headers["webhook-id"].decode(), Counter())[headers["item"].decode()] += 1
    for answer in answered:
        items = kept.get(answer.webhook_id, Counter())
        assert set(items) == {f"{item}/{answer.records}" for item in range(1, answer.records + 1)}, answer
    return sum(items.total() - len(items) for items in kept.values())


async def assert_each_record_has_one_fate(system: System, raw: Sequence[Any]) -> None:
    """Each raw record is one observation or one dead letter, by its coordinates."""
    rows = await system.rows("select raw_partition, raw_offset from observations")
    fates = [(row["raw_partition"], row["raw_offset"]) for row in rows]
    for letter in await system.read(Topic.DEAD_LETTERS):
        headers = dict(letter.headers)
        fates.append((int(headers["dlq-partition"]), int(headers["dlq-offset"])))
    assert Counter(fates) == Counter((record.partition, record.offset) for record in raw)


def _planned(system: System, raw: Sequence[Any]) -> Mapping[Topic, list[Any]]:
    """Plan the raw topic record by record, as if nothing had ever broken."""
    shipments: dict[str, Shipment] = {}
    planned: dict[Topic, list[Any]] = {topic: [] for topic in Topic}
    for record in sorted(raw, key=lambda record: (record.partition, record.offset)):
        found = RawRecord(
            record.partition, record.offset, record.key, record.value, tuple(record.headers), record.timestamp
        )
        reading = read(found, system.settings.assumed_zone, system.settings.topic_partitions)
        done = Planner(shipments, system.settings.topic(Topic.RAW), START).add_all([reading])
        shipments.update(done.shipments)
        for output in done.outputs:
            for message in messages(output):
                if message.topic is not Topic.DEAD_LETTERS:
                    planned[message.topic].append(msgspec.json.decode(message.value or b""))
    return planned


def _by_shipment(events: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for event in events:
        found.setdefault(event["shipment_id"], []).append(_without_writing(event))
    return found


def _plain(states: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {name: _without_writing(state) for name, state in states.items()}


def _without_writing(value: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out when it was written: that depends on when, all else on the raw topic alone."""
    return {name: word for name, word in value.items() if name != "recorded_at"}


def assert_none_goes_on_once_delivered(events: Sequence[Any]) -> int:
    """No event takes a parcel that was delivered on its way again. Return how many were delivered."""
    delivered: set[str] = set()
    for event in events:
        if event["shipment_id"] in delivered:
            assert (event["status"], event["final"]) == ("DELIVERED", True), event
        if event["status"] == "DELIVERED":
            delivered.add(event["shipment_id"])
    return len(delivered)


async def assert_rows_agree(system: System, states: Mapping[str, Mapping[str, Any]]) -> None:
    """The rows of `shipments` say what was published last."""
    columns = ("status", "phase", "final", "courier_status", "failed_count", "version", "order_id", "awb", "service")
    rows = await system.rows("select * from shipments")
    in_rows = {row["shipment_id"]: [row[column] for column in columns] for row in rows}
    assert in_rows == {name: [state[column] for column in columns] for name, state in states.items()}
