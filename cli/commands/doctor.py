"""`waybill doctor`."""

import argparse
from typing import Any

from cli.signals import run
from cli.starting import DONE, FAILED, start
from cli.terminal.arguments import offer_json
from cli.terminal.output import say, say_json
from runtime.settings import Settings


def offer(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "doctor", help="look at brokers, topics, durability, schema, cursors, clocks, settings"
    )
    offer_json(parser)
    parser.set_defaults(command=_doctor)


def _doctor(arguments: argparse.Namespace) -> int:
    return run(doctor(start(), json=arguments.json))


async def doctor(settings: Settings, *, json: bool) -> int:
    """Print a line for each thing that was looked at. 1 if one of them is wrong."""
    from operators.doctor.examine import examine  # noqa: PLC0415
    from operators.doctor.finding import Level  # noqa: PLC0415
    from processor.recover import halted  # noqa: PLC0415

    findings = []
    async for finding in examine(settings, halted):
        findings.append(finding)
        if not json:
            mend = f"  → {finding.mend}" if finding.mend else ""
            say(f"{finding.level:4}  {finding.what:12}  {finding.found}{mend}")
    failed = any(finding.level is Level.FAIL for finding in findings)
    if json:
        say_json({"ok": not failed, "findings": findings})
    return FAILED if failed else DONE
