"""Whether one parcel with thousands of webhooks, of any kind in any order, keeps others waiting.

The loop's watcher shares the processor's event loop, so `held` is how late a heartbeat may be:

    python -m bench.hot_parcel [webhooks] [limit]
"""

import asyncio
import sys

import psutil

from bench.machine import bench_systems
from tests.hot_parcels import KINDS, ORDERS, hot_records
from tests.integration.crowding import crowded
from tests.integration.system import PARTITIONS, System


async def main(count: int, limit: int) -> None:
    cases = [(kind, order) for kind in KINDS for order in ORDERS]
    prefixes = [f"{kind.__name__}.{order.__name__}." for kind, order in cases]
    async with bench_systems(*prefixes) as systems:
        for (kind, order), system in zip(cases, systems, strict=True):
            await system.execute("truncate shipments, observations, outputs, cursors, applied_commands")
            limited = System({**system.environ, "WAYBILL_SHIPMENT_MAX_OBSERVATIONS": str(limit)})
            measured = await crowded(limited, hot_records(kind, order(count)), most_seconds=600)
            memory = psutil.Process().memory_info().rss / 1e6
            print(
                f"{kind.__name__:14} {order.__name__:14} {measured.seconds:5.1f} s, loop held {measured.held:.2f} s, "
                f"neighbours' delay {max(measured.delays, default=0):.2f} s, "
                f"claimed again {measured.claims - PARTITIONS}, RSS {memory:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    asyncio.run(main(*(int(each) for each in (*sys.argv[1:], *("20000", "5000")[len(sys.argv) - 1 :]))))
