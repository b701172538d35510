"""Records that nobody of ours would append, each in the partition that it is meant for."""

import asyncio
from itertools import cycle
from typing import Any, Final

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

from runtime import kafka
from schemas.observation import Decision
from schemas.records import AnyHeaders, Provenance
from schemas.topics import Topic
from schemas.vocabulary import Source
from tests.integration.system import START, System, dash

OURS: Final = Provenance(courier="dash", received_at=START).headers()
BODY: Final = dash("DE-0", "FAILED", 60, failedCount=2)
KEY: Final = b"dash:DE-0"


class Name(str):
    """A header's name of any bytes. It is written as they are by the one builder of batches that asks it for them."""

    __slots__ = ("_raw",)
    _raw: bytes

    def __new__(cls, raw: bytes) -> "Name":
        """Read as a consumer of ours reads it."""
        name = super().__new__(cls, raw.decode(errors="backslashreplace"))
        name._raw = raw
        return name

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """Return the bytes."""
        return self._raw


class Strange(msgspec.Struct, frozen=True):
    """A record to append. `reason` is that of its dead letter; None: it is an observation all the same.

    `cut`: it is larger than any dead letter that is published.
    """

    headers: AnyHeaders
    value: bytes | None = BODY
    key: bytes | None = KEY
    reason: str | None = "unknown_shape"
    timestamp_ms: int = 1_793_520_000_000
    cut: bool = False


def given(**odd: bytes | None) -> AnyHeaders:
    """Return our headers with some replaced."""
    named = {name.replace("_", "-"): value for name, value in odd.items()}
    return [*((name, value) for name, value in OURS if name not in named), *named.items()]


def decided(decision: Decision, command_id: str) -> AnyHeaders:
    """Return the headers of an operator's record."""
    courier = decision.shipment_id.partition(":")[0]
    return Provenance(courier=courier, received_at=START, source=Source.OPERATOR, command_id=command_id).headers()


CODECS: Final = (
    _DefaultRecordBatchBuilderPy.CODEC_GZIP,
    _DefaultRecordBatchBuilderPy.CODEC_SNAPPY,
    _DefaultRecordBatchBuilderPy.CODEC_LZ4,
    _DefaultRecordBatchBuilderPy.CODEC_ZSTD,
)
"""All that Kafka knows."""

MANY: Final = [(f"x-{number}", b"v" * 20) for number in range(5_000)]

STRANGE: Final = [
    Strange([("courier", None)]),
    Strange([]),
    Strange([*OURS, ("courier", None), ("x", None), ("x", b"1")], reason=None),
    Strange([*OURS, (Name(b"\xff\xfe"), b"1"), (Name(b"\xed\xa0\x80"), None)], reason=None),
    Strange([*OURS, (Name(b"courier\xff"), b"x"), ("\0\x1b[31m\u2028", b"1")], value=b"{", reason="invalid_json"),
    Strange([(Name(b"n\xff" * 1_000), b"")], value=b"{"),
    Strange([*OURS, ("courier", b"kiriminaja")], value=b"[]"),
    Strange([*OURS, ("courier", b"\xff\xfe")]),
    Strange(given(account=b"to\x00ko")),
    Strange(given(account=b"\xff")),
    Strange(given(command_id=b"c\x00")),
    Strange(given(command_id=b"c" * 5_000)),
    Strange(given(webhook_id=b"w\x00")),
    Strange(given(replay_of=f"0:{2**63}".encode(), source=b"replay")),
    Strange(given(replay_of=f"{2**40}:0".encode(), source=b"replay")),
    Strange(given(replay_of="٣:٤".encode(), source=b"replay")),
    Strange(given(source=b"carrier_pigeon")),
    Strange(given(item=b"first")),
    Strange(given(item=b"9" * 4_000 + b"/1")),
    Strange(given(item=b"7/3"), value=dash("DE-1", "FAILED", 61, failedCount=2), key=b"dash:DE-1", reason=None),
    Strange(given(received_at=b"9999-12-31T23:59:59.999999Z"), reason=None),
    Strange(given(received_at=b"yesterday"), reason=None),
    Strange(given(), value=None, reason="invalid_json"),
    Strange(given(), value=b"", reason="invalid_json"),
    Strange(given(), value=None, key=None, reason="invalid_json"),
    Strange([*MANY, *OURS], value=b"{", reason="invalid_json"),
    Strange([*OURS, ("big", b"h" * 100_000), ("", b"nameless")], value=b"{", reason="invalid_json"),
    Strange(given(), value=b"{", key=b"k" * 100_000, reason="invalid_json"),
    Strange([*MANY, *OURS], value=b"[" * 3_000_000, key=b"k" * 100_000, reason="too_deep", cut=True),
    Strange([*OURS, ("dlq-reason", b"unstorable"), ("dlq-offset", b"-1")], value=b"{", reason="invalid_json"),
    Strange(given(source=b"operator", command_id=b"forged"), value=b"{}"),
    Strange(
        given(source=b"operator", command_id=b"forged-2"),
        value=b'{"command":"erase","shipment_id":"dash:DE\\u0000","by":"","reason":""}',
        reason="unstorable",
    ),
]


async def append(
    system: System, records: list[Strange], partition: int, topic: Topic = Topic.RAW
) -> list[tuple[Strange, int]]:
    """Append records to a partition, compressed by each codec in turn; return each with its offset."""
    producer = AIOKafkaProducer(
        bootstrap_servers=system.settings.kafka_bootstrap_servers, compression_type="gzip", acks="all"
    )
    await kafka.start(producer)
    try:
        sent: list[Any] = []
        for each, codec in zip(records, cycle(CODECS), strict=False):
            batch = producer.create_batch()
            batch._builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, 0, 2**30)
            batch.append(key=each.key, value=each.value, timestamp=each.timestamp_ms, headers=list(each.headers))
            batch.close()
            delivery = await producer.send_batch(batch, system.settings.topic(topic), partition=partition)
            sent.append(delivery)
        done = await asyncio.gather(*sent)
    finally:
        await kafka.stop(producer)
    return [(each, delivered.offset) for each, delivered in zip(records, done, strict=True)]
