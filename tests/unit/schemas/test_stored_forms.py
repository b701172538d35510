"""The stored forms stay what they were when they were first stored."""

from datetime import UTC, datetime
from typing import get_type_hints

import msgspec
import pytest

from schemas.observation import Charges, Details, Driver, Observation, Stamp
from schemas.stored_event import EventRow, _Event, event_bytes, pack_event, read_event, traceparent_of, with_traceparent
from schemas.stored_form import CODES
from schemas.stored_observation import pack_observation, read_observation
from schemas.vocabulary import Service, Source, Status, TimeSource, Word

NOON = datetime(2026, 11, 27, 12, 0, 0, 161007, tzinfo=UTC)
ROW = EventRow("dash.toko:DE-1", 5, 3, 1841)

EVENT = bytes.fromhex(
    "01dc0023c003a464617368a4746f6b6f0192a36a6e65a352454704a34f2d31c00a0902c20690a64641494c45440101bb3230"
    "32362d31312d32375431313a30303a30302e3030303030305a00bb323032362d31312d32375431313a35393a35392e313230"
    "3333315ad7ff266316606b0970c0a66e6f626f6479c094a3494452cd5208c0c092a441677573a430383131c0a96874747073"
    "3a2f2f789193ac4641494c45445f50524f4f46a968747470733a2f2f79c0930aa64641494c4544bb323032362d31312d3237"
    "5431313a30303a30302e3030303030305a91d92d646173682e746f6b6f3a44452d312f616e6f6d616c792f333a372f696c6c"
    "6567616c5f7472616e736974696f6e00b4636f75726965722e776562686f6f6b732e726177c0c0"
)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACED = bytes.fromhex("01dc0024") + EVENT[4:] + b"\xd9\x37" + TRACEPARENT.encode()
PUBLISHED = (
    b'{"id":"dash.toko:DE-1/5","type":"shipment.corrected","shipment_id":"dash.toko:DE-1","version":5,"cou'
    b'rier":"dash","account":"toko","service":"logistic","carrier":{"code":"jne","service":"REG"},"courier'
    b'_ref":"DE-1","order_id":"O-1","awb":null,"status":"FAILED","previous_status":"IN_DELIVERY","phase":"'
    b'exception","final":false,"transition":"correction","skipped":[],"courier_status":"FAILED","failed_co'
    b'unt":1,"attempt":1,"occurred_at":"2026-11-27T11:00:00.000000Z","occurred_at_source":"courier","recei'
    b'ved_at":"2026-11-27T11:59:59.120331Z","recorded_at":"2026-11-27T12:00:00.161007Z","reason":"nobody",'
    b'"description":null,"charges":{"currency":"IDR","shipping":21000,"cod":null,"insurance":null},"person'
    b'al":{"driver":{"name":"Agus","phone":"0811"},"signed_by":null,"tracking_url":"https://x","proofs":[{'
    b'"type":"FAILED_PROOF","url":"https://y","occurred_at":null}]},"observed":{"status":"FAILED","courier'
    b'_status":"FAILED","occurred_at":"2026-11-27T11:00:00.000000Z"},"resolves":["dash.toko:DE-1/anomaly/3'
    b':7/illegal_transition"],"source":"push","raw":{"topic":"courier.webhooks.raw","partition":3,"offset"'
    b":1841}}"
)

SAID = Observation(
    shipment_id="dash.toko:DE-1",
    courier="dash",
    account="toko",
    reference="DE-1",
    word="FAILED",
    status=Status.FAILED,
    known=True,
    received_at=NOON,
    source=Source.PUSH,
    record_digest=bytes(range(16)),
    reading_digest=bytes(range(16, 32)),
    count=1,
    times={"failedAt": Stamp(datetime(2026, 11, 27, 11, tzinfo=UTC), TimeSource.COURIER)},
    updated_at=NOON,
    hints=(Service.LOGISTIC,),
    details=Details(order_id="O-1", charges=Charges(shipping=21_000), driver=Driver("Agus", "0811"), reason="nobody"),
    edition=2,
)
STORED = bytes.fromhex(
    "01dc0015a464617368a4746f6b6f04a64641494c45440ac3d7ff266316606b0970c000c410000102030405060708090a0b0c"
    "0d0e0fc410101112131415161718191a1b1c1d1e1f010181a86661696c6564417492d6ff6b0962b0a7636f7572696572d7ff"
    "266316606b0970c0909101c09aa34f2d31c0c094a3494452cd5208c0c092a441677573a430383131c0c0a66e6f626f6479c0"
    "90c0c002"
)


@pytest.mark.parametrize("words", CODES)
def test_every_word_has_a_number(words: type[Word]) -> None:
    assert sorted(CODES[words].split()) == sorted(words)


def test_an_observation_is_stored_as_at_first() -> None:
    assert pack_observation(SAID) == STORED
    assert read_observation(SAID.shipment_id, None, STORED) == SAID


def test_an_event_is_published_as_at_first() -> None:
    event = read_event(EVENT, ROW)
    assert event_bytes(event) == PUBLISHED
    assert pack_event(event, ROW, NOON) == EVENT


def test_the_event_of_a_traced_webhook_is_stored_with_its_header_behind_all_else() -> None:
    assert with_traceparent(EVENT, TRACEPARENT) == TRACED
    assert read_event(TRACED, ROW) == read_event(EVENT, ROW)
    assert traceparent_of(TRACED) == TRACEPARENT
    assert traceparent_of(EVENT) is None


def test_a_version_that_knows_no_traces_reads_the_event_of_a_traced_webhook() -> None:
    fields = _Event.__struct_fields__[:-1]
    types = get_type_hints(_Event, include_extras=True)
    before = msgspec.defstruct("Before", [(name, types[name]) for name in fields], array_like=True)
    read = msgspec.msgpack.Decoder(before).decode
    assert read(TRACED[1:]) == read(EVENT[1:])
