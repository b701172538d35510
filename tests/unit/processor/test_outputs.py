"""What was just written is published as it is; what was read back from the table is decoded, and comes to the same."""

from datetime import timedelta

import msgspec
import pytest

from processor.core import messages as core_messages
from processor.core.messages import Message, messages
from processor.core.outputs import Output
from processor.core.plan import Planner
from schemas.records import RawRecord
from schemas.topics import Topic
from tests.integration.system import START, dash, raw_records
from tests.property.driving import RAW_TOPIC, readings_of


def written(*words: str) -> list[Output]:
    """The outputs of a shipment's webhooks, one word each."""
    given = [
        each
        for minute, word in enumerate(words)
        for each in raw_records("dash", dash("X", word, minute), START + timedelta(minutes=minute))
    ]
    records = [
        RawRecord(0, offset, each.key, each.value, tuple(each.headers), each.timestamp_ms)
        for offset, each in enumerate(given)
    ]
    return list(Planner({}, RAW_TOPIC, START).add_all(readings_of(records)).outputs)


def sent(found: list[Output]) -> list[Message]:
    return [message for output in found for message in messages(output)]


def test_nothing_that_was_just_written_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    found = written("PREPARING", "COMPLETED", "FAILED", "A WORD OF TOMORROW")
    assert {output.topic for output in found} == {Topic.EVENTS, Topic.ANOMALIES}
    read_back = [msgspec.structs.replace(output, event=None, anomaly=None) for output in found]
    expected = sent(read_back)

    def refuse(_value: bytes) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(core_messages, "_decode_event", refuse)
    monkeypatch.setattr(core_messages, "_decode_anomaly", refuse)
    assert sent(found) == expected
    with pytest.raises(AssertionError, match="decoded"):
        sent(read_back)
