"""What a recovery applies again without publishing it."""

from datetime import timedelta

from processor.core.plan import Planner
from processor.storage.batch import BatchRows
from processor.storage.rows import OBSERVATION_COLUMNS
from schemas.records import RawRecord
from tests.integration.system import START, dash, raw_records
from tests.property.driving import RAW_TOPIC, readings_of


def test_its_rows_hold_no_event() -> None:
    raw = [*raw_records("dash", dash("X", "VERIFIED", 1), START), *raw_records("dash", b"{", START)]
    records = [RawRecord(0, at, each.key, each.value, tuple(each.headers), 0) for at, each in enumerate(raw)]
    plan = Planner({}, RAW_TOPIC, START).add_all(readings_of(records))
    whole, bare = (BatchRows.of(each, 0, START + timedelta(days=1)) for each in (plan, plan.unpublished()))
    event = OBSERVATION_COLUMNS.index("event")
    assert [row[event] is None for row in whole.observations] == [False]
    assert [row[event] is None for row in bare.observations] == [True]
    assert (len(whole.outputs), len(bare.outputs)) == (1, 0)
    assert bare.shipments == whole.shipments
    assert [*bare.observations[0][:event], *bare.observations[0][event + 1 :]] == [
        *whole.observations[0][:event],
        *whole.observations[0][event + 1 :],
    ]
