"""Every command over texts that would command a terminal, in every field that a courier or an operator fills."""

import argparse
import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from pathlib import Path
from typing import Final
from unittest.mock import patch

import msgspec

from cli.main import command_line, main
from ingest.spool_file import SpoolFile
from schemas.records import NewRecord, Provenance
from tests.children import environ_with
from tests.hostile import HOSTILE, commanding
from tests.integration.system import START, Raw, System, dash, open_system, raw_records
from tests.waiting import until

SHIPMENT: Final = f"dash:DE{HOSTILE}"
WHY: Final = ("--reason", f"because {HOSTILE}")
RECEIVED_MS: Final = int(START.timestamp() * 1000)
BEGINNING: Final = ("--since", "earliest", "--until-end")

COMMANDS: Final[dict[str, list[tuple[str, ...]]]] = {
    "anomalies accept": [("{illegal}", *WHY, "--dry-run"), ("{unknown}", *WHY, "--yes")],
    "anomalies dismiss": [("{unknown}", *WHY, "--dry-run"), (f"{HOSTILE}/anomaly/1:2/unknown_status", *WHY, "--yes")],
    "anomalies list": [("--all",), ("--shipment", HOSTILE)],
    "anomalies show": [("{illegal}",), (HOSTILE,)],
    "audit": [("--from-raw", "--show-personal"), ("--shipment", HOSTILE)],
    "config": [()],
    "dlq drop": [("--dry-run",), (f"1:2{HOSTILE}", "--yes"), ("--reason", HOSTILE, "--yes")],
    "dlq list": [("--all",)],
    "dlq redrive": [("--dry-run",), ("--yes",)],
    "dlq show": [("{letter}", "--show-personal"), (HOSTILE,)],
    "doctor": [()],
    "lag": [()],
    "log": [(), ("--operator", HOSTILE), ("--shipment", SHIPMENT), ("--shipment", HOSTILE)],
    "migrate": [()],
    "reconcile": [("--dry-run",), ("--shipment", HOSTILE)],
    "reconcile report": [()],
    "recover": [("--dry-run",)],
    "replay cancel": [("{job}", "--yes"), (HOSTILE, "--yes")],
    "replay list": [()],
    "replay pause": [("{job}", "--dry-run"), (HOSTILE,)],
    "replay plan": [("--all", "--show-personal"), ("--all", "--shipment", HOSTILE)],
    "replay resume": [("{job}", "--dry-run"), (HOSTILE,)],
    "replay run": [("--all", "--dry-run"), ("--all", "--yes"), ("--all", "--to-topic", HOSTILE, "--yes")],
    "replay status": [("{job}",), (HOSTILE,)],
    "retention": [("--dry-run",)],
    "shipment ask": [(SHIPMENT, *WHY, "--dry-run"), (f"nobody{HOSTILE}", *WHY, "--yes")],
    "shipment erase": [(SHIPMENT, *WHY, "--dry-run"), (f"nobody{HOSTILE}", *WHY, "--yes")],
    "shipment list": [(), ("--status", HOSTILE)],
    "shipment set-status": [(SHIPMENT, "LOST", *WHY, "--dry-run"), (SHIPMENT, HOSTILE, *WHY, "--yes")],
    "shipment show": [(SHIPMENT, "--show-personal"), (f"nobody{HOSTILE}",)],
    "spool drop": [("--dry-run",)],
    "spool list": [()],
    "spool retry": [("--dry-run",)],
    "tail": [
        *(
            (*BEGINNING, "--show-personal", "--topic", topic)
            for topic in ("events", "state", "anomalies", "dlq", "raw")
        ),
        (*BEGINNING, "--shipment", f"nobody{HOSTILE}"),
    ],
    "topics apply": [()],
    "topics check": [()],
}
"""By command: what it is run with, both for people and with `--json`."""

NOT_RUN: Final = {
    "completion": "has no texts but ours",
    "console": "",
    "console user": "has no texts but ours",
    "courier new": "needs no broker: tests/unit/test_courier_commands.py",
    "courier send": "likewise",
    "courier try": "likewise",
    "ingest": "",
    "processor": "",
    "spool wait": "has no texts but ours",
    "up": "",
}
"""Services, which print nothing, and why else a command is left out."""


def _commands(of: argparse.ArgumentParser, name: str = "") -> Iterator[str]:
    """Return the commands that can be run, as they are typed."""
    if of.get_default("command") is not None:
        yield name
    for action in of._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, below in action.choices.items():
                yield from _commands(below, f"{name} {verb}".strip())


def test_every_command_is_tried() -> None:
    assert set(_commands(command_line())) == COMMANDS.keys() | NOT_RUN.keys()


def _hostile_records() -> list[Raw]:
    person = {"name": f"Budi {HOSTILE}", "phone": f"+62{HOSTILE}"}
    proof = [{"url": f"https://x/{HOSTILE}", "type": f"POD{HOSTILE}"}]
    words = [("IN_DELIVERY", 1), ("COMPLETED", 2), ("PREPARING", 3), (f"MELTED{HOSTILE}", 4), ("PENDING_RETURN", 5)]
    bodies = [
        dash(
            f"DE{HOSTILE}",
            word,
            minute,
            providerOrderID=f"O{HOSTILE}",
            courier=person,
            media=proof,
            trackingURL=f"https://x{HOSTILE}",
            failedReason=f"why{HOSTILE}",
            remarks=HOSTILE,
        )
        for word, minute in words
    ]
    item = {"order_id": f"O{HOSTILE}", "awb": f"A{HOSTILE}", "reason": HOSTILE, "service_name": HOSTILE}
    packages = [{"method": f"{method}_packages", "data": [item]} for method in ("shipped", f"odd{HOSTILE}")]
    odd = Provenance(courier="dash", received_at=START, content_type=f"text/{HOSTILE}").headers()
    foreign = [("courier", HOSTILE.encode()), (HOSTILE, HOSTILE.encode()), ("source", HOSTILE.encode())]
    received = START + timedelta(minutes=10)
    return [
        *(record for body in bodies for record in raw_records("dash", body, received)),
        *(record for body in packages for record in raw_records("kiriminaja", msgspec.json.encode(body), received)),
        Raw(HOSTILE.encode(), f"no JSON {HOSTILE}".encode(), odd, RECEIVED_MS),
        Raw(HOSTILE.encode(), HOSTILE.encode(), foreign, RECEIVED_MS),
    ]


class Printed(msgspec.Struct):
    """What a command printed."""

    data: str
    complaints: str


def _run(system: System, *arguments: str) -> Printed:
    """Run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.dict(os.environ, system.environ),
        redirect_stdout(out),
        redirect_stderr(err),
        suppress(SystemExit),  # wrong usage
    ):
        main(arguments)
    return Printed(out.getvalue(), err.getvalue())


def _names(system: System) -> dict[str, str]:
    """Return what the commands are told: an anomaly's id, a dead letter's place, a job."""
    anomalies, letters, jobs = (
        msgspec.json.decode(_run(system, *command, "list", "--json").data)
        for command in (["anomalies"], ["dlq"], ["replay"])
    )
    kinds = {each["kind"]: each["id"] for each in anomalies}
    return {
        "{illegal}": kinds["illegal_transition"],
        "{unknown}": kinds["unknown_status"],
        "{letter}": letters[0]["at"],
        "{job}": jobs[0]["job"],
    }


def _refuse_one(spool: Path) -> None:
    """Leave a record in a spool that a broker is said to have refused."""
    (record,) = raw_records("dash", dash(f"DE-SPOOLED{HOSTILE}", "PREPARING", 1), START)
    file = SpoolFile(spool)
    try:
        file.append([[NewRecord(record.key, record.value, record.headers, record.timestamp_ms)]], 1 << 20)
        file.place(1)
        file.set_aside(0, file.first(0, 1, 1 << 20)[0], f"refused {HOSTILE}")
    finally:
        file.close()


@contextmanager
def _processing(system: System) -> Iterator[None]:
    """Run a processor, until which everything appended is applied."""
    command = [sys.executable, "-m", "cli.main", "processor"]
    with subprocess.Popen(command, env=environ_with(system.environ), stderr=subprocess.DEVNULL) as processor:
        try:
            asyncio.run(until(system.caught_up))
            yield
        finally:
            processor.terminate()


async def _filled(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str) -> System:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    await system.append(_hostile_records())
    return system


def test_no_command_passes_on_what_commands_a_terminal(
    kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, tmp_path: Path
) -> None:
    system = asyncio.run(_filled(kafka_bootstrap_servers, database_url, topic_prefix))
    system.environ |= {
        "WAYBILL_OPERATOR": f"ani {HOSTILE}",
        "WAYBILL_LOG_FORMAT": "console",
        "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"),
        "WAYBILL_KIRIMINAJA_API_URL": "http://127.0.0.1:9",
        "WAYBILL_KIRIMINAJA_API_KEY": "key",
        f"WAYBILL_ODD{HOSTILE}": HOSTILE,
    }
    _refuse_one(tmp_path / "spool")
    with _processing(system):
        _run(system, "replay", "run", "--all", "--yes", "--courier", "kiriminaja")
        _run(system, "shipment", "set-status", SHIPMENT, "LOST", *WHY, "--yes")
        _look_at_everything(system)


def _look_at_everything(system: System) -> None:
    names = _names(system)
    seen = ""
    for command, runs in COMMANDS.items():
        for given in runs:
            arguments = [*command.split(), *(names.get(each, each) for each in given)]
            for form in ((), ("--json",)):
                found = _run(system, *arguments, *form)
                printed = found.data + found.complaints
                assert "Traceback" not in printed, printed
                assert set(commanding(printed)) <= set(), (arguments, form, printed)
                assert "\nwaybill: ok" not in printed, (arguments, form, printed)
                seen += printed
    for told in ("DE\\x1b[2J", "MELTED\\x1b", "because \\x1b", "Budi \\u001b", "ani \\x1b", "\\u001b[2J\\u001b]0;x"):
        assert told in seen, "the test sees hostile texts"
