"""What planning, replaying and auditing everything costs, beside what processing it first did, all in one run.

Each round has a database and topics of its own. Of the first processing the steady middle counts; of a command all of
it, its start and the wait for the last outcome too.

    python -m bench.replay [--rounds N] [--records N] [--write]
"""

import argparse
import asyncio
import resource
import sys
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final

import msgspec

from bench.backlog import append_backlog
from bench.machine import bench_stack, described, empty_database
from bench.page import publish
from bench.steady import Spread, Steady, spread, steady_middle
from bench.watching import Watcher, cpu_seconds, server_pids
from devstack import Stack
from runtime import kafka
from schemas.topics import Topic
from tests.integration.replaying import WAYBILL, running
from tests.integration.system import System, open_system

RECORDS: Final = 90_000

ROUNDS: Final = 3

SECTION: Final = "replay"

FIRST: Final = "first processing"
PLAN: Final = "`replay plan --all`"
RUN: Final = "`replay run --all`, and the processor"
AUDIT: Final = "`audit`"
FROM_RAW: Final = "`audit --from-raw`"

SAME_CODE: Final = 1.3
"""What a replay with unchanged code may take, in times of the first processing."""

Round = Mapping[str, Steady]
"""What each of them took in one round."""


class Bench:
    """One round: a system, and the processes whose time is counted."""

    def __init__(self, system: System, stack: Stack, records: int) -> None:
        """Keep what is measured."""
        self._system = system
        self._servers = server_pids(stack)
        self._records = records

    async def first(self) -> Steady:
        """Process everything."""
        group, raw = self._system.settings.group_id, self._system.settings.topic(Topic.RAW)
        async with kafka.admin_client(self._system.settings) as admin, self._system.processor() as process:
            watcher = Watcher(admin, self._servers, raw)
            samples = await watcher.run(group, [process.pid], float("inf"), self._records, lambda: None)
        return steady_middle([msgspec.structs.replace(each, cpu=_ours(each.cpu)) for each in samples])

    async def again(self) -> Steady:
        """Read everything again beside a processor."""
        async with self._system.processor() as process:
            took, ended = await self._command("replay", "run", "--all", "--yes", "--json", beside=[process.pid])
        assert ended["outcomes"] == {"unchanged": self._records}, ended
        return took

    async def planned(self) -> Steady:
        """Plan the same."""
        took, plan = await self._command("replay", "plan", "--all", "--json")
        assert (plan["outcomes"], plan["changes"]) == ({"unchanged": self._records}, []), plan
        return took

    async def audited(self, *more: str) -> Steady:
        """Audit everything."""
        took, report = await self._command("audit", "--json", *more)
        assert (report["found"], report["records"] >= self._records) == (0, True), report
        return took

    async def _command(self, *arguments: str, beside: Sequence[int] = ()) -> tuple[Steady, Any]:
        """Run a command to its end. Return what a record took, and what it said."""
        before, began = self._spent(beside), monotonic()
        async with running(self._system, *arguments, program=WAYBILL) as process:
            out, err = await process.communicate()
        seconds, after = monotonic() - began, self._spent(beside)
        assert process.returncode == 0, err.decode()[-5_000:]
        spent = {who: (after[who] - before[who]) / self._records * 1e6 for who in before}
        return Steady(self._records / seconds, spent), msgspec.json.decode(out)

    def _spent(self, beside: Sequence[int]) -> dict[str, float]:
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        ours = ended.ru_utime + ended.ru_stime + sum(map(cpu_seconds, beside))
        return {"Waybill": ours, **{who: cpu_seconds(pid) for who, pid in self._servers.items()}}


def _ours(cpu: Mapping[str, float]) -> dict[str, float]:
    return {"Waybill" if who == "engine" else who: seconds for who, seconds in cpu.items()}


async def measure(rounds: int, records: int) -> list[Round]:
    """Measure everything in each round."""
    done: list[Round] = []
    async with bench_stack() as stack:
        for number in range(1, rounds + 1):
            async with empty_database(stack.database_url, f"replay_{number}") as url:
                system = await open_system(stack.kafka_bootstrap_servers, url, f"replay.{number}.")
                bench = Bench(system, stack, await append_backlog(system, records))
                found: dict[str, Steady] = {}
                for what, measured in (
                    (FIRST, bench.first()),
                    (PLAN, bench.planned()),
                    (AUDIT, bench.audited()),
                    (RUN, bench.again()),
                    (FROM_RAW, bench.audited("--from-raw")),
                ):
                    found[what] = await measured
                    _say(f"round {number} of {rounds}: {what}: {found[what].rate:,.0f} records/s {found[what].cpu}")
                done.append(found)
    return done


def table(rounds: Sequence[Round]) -> str:
    """Write what was measured as a table in Markdown."""
    servers = list(rounds[0][FIRST].cpu)
    lines = [
        f"| what | records/s | time / first | CPU, µs a record: {' · '.join(servers)} | together / first |",
        "|---|---|---|---|---|",
    ]
    for what in rounds[0]:
        own = [each[what] for each in rounds]
        cpu = [f"{spread([each.cpu[server] for each in own]).median:.1f}" for server in servers]
        whole = spread([each[what].whole_cpu / each[FIRST].whole_cpu for each in rounds])
        lines.append(
            f"| {what} | {spread([each.rate for each in own]).median:,.0f} | {_told(times(rounds, what))} "
            f"| {' · '.join(cpu)} | {_told(whole)} |"
        )
    return "\n".join(lines)


def times(rounds: Sequence[Round], what: str) -> Spread:
    """Return how long something takes, in times of the first processing of its round."""
    return spread([each[FIRST].rate / each[what].rate for each in rounds])


def judged(rounds: Sequence[Round]) -> str:
    """Say of what is to hold whether it does."""
    bounds = ((RUN, SAME_CODE), (PLAN, 1.0), (AUDIT, 1.0))
    found = [(what, times(rounds, what), most) for what, most in bounds]
    return "\n".join(
        f"- {what}: {_told(took)} times; at most {most:g} wanted: {'holds' if took.median <= most else 'does not hold'}"
        for what, took, most in found
    )


def _told(found: Spread) -> str:
    return f"{found.median:.2f} ({found.least:.2f} to {found.most:.2f})"


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.replay")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--records", type=int, default=RECORDS)
    parser.add_argument("--write", action="store_true", help="write docs/performance.md too")
    options = parser.parse_args()
    rounds = asyncio.run(measure(options.rounds, options.records))
    measured = (
        f"Measured on {described()}, with {options.records:,} records of parcels with six webhooks each, in "
        f"{options.rounds} rounds: median (least to most)."
    )
    told = "\n\n".join([measured, table(rounds), judged(rounds)])
    publish(SECTION, told, write=options.write)


if __name__ == "__main__":
    main()
