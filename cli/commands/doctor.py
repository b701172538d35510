"""`waybill doctor`."""

import argparse

from cli.exit_codes import DONE, FAILED
from cli.signals import run
from cli.starting import start
from cli.terminal.arguments import offer_json
from cli.terminal.output import say, say_json
from operators.doctor.examine import examine
from operators.doctor.finding import Level
from processor.recovery.run import halted
from runtime.settings import Settings


def offer(parser: argparse.ArgumentParser) -> None:
    """Offer the command."""
    offer_json(parser)
    parser.set_defaults(command=lambda arguments: run(_doctor(start(), json=arguments.json)))


async def _doctor(settings: Settings, *, json: bool) -> int:
    """Print a line for each thing that was looked at. It has failed if one of them is wrong."""
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
