"""Several embedded brokers that hold copies of each other's partitions, for tests of what one broker cannot show."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from devstack import tools
from devstack.errors import MissingToolError
from devstack.home import Home
from devstack.jars import jars
from devstack.kafka import EmbeddedKafka, Member, new_cluster_id
from devstack.ports import free_ports


def replicated(brokers: int) -> dict[str, str]:
    """Return the settings by which everything has a copy on each broker, and a write waits for all but one."""
    copies, in_sync = str(brokers), str(max(1, brokers - 1))
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


class KafkaCluster:
    """Brokers, by their number from 1 on. Each one votes too: a majority that lives goes on."""

    def __init__(self, java: Path, jar_directory: Path, homes: Sequence[Home]) -> None:
        """One broker in each home. `java` and `jar_directory` are as for `EmbeddedKafka`."""
        ports = free_ports(2 * len(homes))
        cluster_id, controllers = new_cluster_id(), ports[len(homes) :]
        extra = replicated(len(homes))
        self.brokers: Final = {
            number: EmbeddedKafka(
                java, jar_directory, home, extra, member=Member(cluster_id, number, ports[number - 1], controllers)
            )
            for number, home in enumerate(homes, start=1)
        }

    @property
    def bootstrap_servers(self) -> str:
        """Where clients connect: every broker."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers.values())

    async def start(self, say: Callable[[str], None]) -> None:
        """Start all brokers side by side, and wait until they serve. Raises StartError."""
        async with asyncio.TaskGroup() as starting:
            for broker in self.brokers.values():
                starting.create_task(broker.start(say))

    async def stop(self) -> None:
        """End all brokers."""
        for broker in self.brokers.values():
            await broker.stop()


@asynccontextmanager
async def kafka_cluster(brokers: int, say: Callable[[str], None]) -> AsyncIterator[KafkaCluster]:
    """Run brokers on fresh data; they end with the block, or with this process however it ends.

    Raises MissingToolError and StartError.
    """
    java = tools.java()
    if java is None:
        raise MissingToolError(f"embedded brokers need Java {tools.JAVA_AT_LEAST} or newer")
    async with AsyncExitStack() as opened:
        homes = [Home.fresh("kafka") for _ in range(brokers)]
        for home in homes:
            opened.callback(home.release)
        cluster = KafkaCluster(java, await jars(say), homes)
        opened.push_async_callback(cluster.stop)
        await cluster.start(say)
        yield cluster
