"""Whatever lies in a topic, or in a row of one, no command ends in a traceback and nothing is lost."""

import re
from typing import Final

import msgspec
import pytest_asyncio

from schemas.topics import Topic
from tests.integration.commands import run_here
from tests.integration.operating import assert_conserved, running, waybill
from tests.integration.strange import STRANGE, Name, Strange, append
from tests.integration.system import START, Raw, System, dash, lives, open_system, raw_records
from tests.waiting import DEADLINE, until

HOME: Final = 0
"""The partition of the parcels that the strange records are about."""

FOREIGN: Final = [
    Strange([], value=None, key=None),
    Strange([("ce_id", None), ("x", b"\xff")], value=b"\xff\x00", key=b"\xff\x00"),
    Strange([], value=b"[1, 2]", key=b"dash:DE-0"),
    Strange([], value=b'{"courier": 5, "status": ["\\u0000"], "version": {}}', key=b"dash:DE-\x00"),
    Strange([("dlq-offset", b"\xff"), ("dlq-reason", None)], value=b'{"raw": null}', key=b"k" * 100_000),
    Strange([(Name(b"\xff"), b"1"), (Name(b"dlq-offset\xff"), None)]),
    Strange([("dlq-offset", b"9" * 5_000)], value=b'{"kind": null, "raw": {}, "status": {}}'),
    Strange([], value=b"[" * 100_000, timestamp_ms=0),
]
"""Of a topic that only Waybill should write."""


@pytest_asyncio.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    system.environ |= {"WAYBILL_KIRIMINAJA_API_URL": "http://127.0.0.1:9", "WAYBILL_KIRIMINAJA_API_KEY": "key"}
    return system


async def plain(system: System, *arguments: str) -> str:
    """Run a command: it ends with 0 or 1 and says what it has to in plain lines."""
    said = await run_here(system.environ, *arguments, within=DEADLINE)
    assert said.code in {0, 1}, (arguments, said)
    assert "Traceback" not in said.out + said.err, (arguments, said)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", said.out + said.err), arguments
    return said.out


async def both(system: System, *arguments: str) -> None:
    """Run a command as people do and as programs do."""
    await plain(system, *arguments)
    await plain(system, *arguments, "--json")


TAILS: Final = (
    *(
        ("tail", "--topic", topic, "--since", "earliest", "--until-end", "--show-personal")
        for topic in ("events", "state", "anomalies", "dlq")
    ),
    ("tail", "--topic", "raw", "--since", "2026-01-01T00:00:00Z", "--until-end"),
    ("tail", "--topic", "raw", "--since", "earliest", "--until-end", "--courier", "dash", "--type", "operator"),
)

LOOKING: Final = (
    ("lag",),
    ("dlq", "list"),
    ("dlq", "list", "--all", "--reason", "unknown_shape", "--courier", "dash"),
    ("dlq", "redrive", "--dry-run"),
    ("dlq", "drop", "--dry-run", "--reason", "unknown_shape"),
    ("audit", "--all"),
    ("audit", "--all", "--from-raw"),
    ("audit", "--shipment", "dash:DE-0", "--from-raw"),
    ("replay", "plan", "--all"),
    ("replay", "plan", "--all", "--shipment", "dash:DE-0"),
    ("replay", "list"),
    ("anomalies", "list", "--all"),
    ("shipment", "list"),
    ("shipment", "show", "dash:DE-0"),
    ("shipment", "erase", "dash:DE-0", "--reason", "asked", "--dry-run"),
    ("recover", "--dry-run"),
    ("doctor",),
    ("retention", "--dry-run"),
    ("reconcile", "--dry-run"),
    ("reconcile", "report"),
)


async def test_no_command_ends_in_a_traceback(system: System) -> None:
    await system.append(lives(3))
    await system.append([*raw_records("dash", dash("DE-0", "PREPARING", 70), START), *_unknown()])
    appended = await append(system, STRANGE, HOME)
    async with running(system):
        await until(system.caught_up)
    for topic in (Topic.EVENTS, Topic.STATE, Topic.ANOMALIES, Topic.DEAD_LETTERS):
        # Brokers take no record without a key on a compacted topic.
        taken = [each for each in FOREIGN if each.key is not None or topic is not Topic.STATE]
        await append(system, taken, HOME, topic)
    letters = msgspec.json.decode(await plain(system, "dlq", "list", "--json"))
    assert len(letters) == sum(strange.reason is not None for strange, _ in appended)
    for looking in (*TAILS, *LOOKING):
        await both(system, *looking)
    for letter in letters:
        shown = msgspec.json.decode(await plain(system, "dlq", "show", letter["at"], "--json"))
        assert shown["reason"] == letter["reason"]
    await plain(system, "dlq", "show", letters[0]["at"])
    async with running(system):
        await both(system, "dlq", "redrive", "--yes", "--max-failure-ratio", "1")
        await waybill(system, "replay", "run", "--all", "--yes")
        await waybill(system, "dlq", "drop", "--yes", "--reason", "unknown_shape")
    await assert_conserved(system)
    await _rows_that_cannot_be_read(system)


def _unknown() -> list[Raw]:
    return raw_records("dash", dash("DE-2", "MELTED\x1b[31m\u009b", 71), START)


async def _rows_that_cannot_be_read(system: System) -> None:
    """A newer version has stored what this one does not know: in a reading, an event and an anomaly."""
    await system.execute(
        "update observations set said = '\\x7f'::bytea || substring(said from 2) where shipment_id = 'dash:DE-0'"
    )
    await system.execute("update observations set event = '\\x7f'::bytea || substring(event from 2)")
    await system.execute("update outputs set value = '{}' where topic = 'shipment.anomalies'")
    for looking in LOOKING:
        await both(system, *looking)
