"""What `waybill doctor` looks at in Kafka: brokers, topics, copies, the group of processors, the clock."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from ingest.clock import MOST_OFF
from operators.doctor.finding import SKEW, Finding, Level, some
from runtime import topics
from runtime.clock import clocks
from runtime.errors import DeniedError, UnreachableError
from runtime.kafka import admin_client
from runtime.kafka_admin import broker_config, group_state
from runtime.settings import Settings, min_insync_replicas
from schemas.topics import TOPICS

AUTO_CREATE: Final = "auto.create.topics.enable"
"""The brokers' config by which a misspelt name becomes a topic."""

GROUP_STABLE: Final = "Stable"

CLOCK_MEND: Final = "grant this user Describe on the cluster: deploy/kafka-acls.sh"


async def look_at_kafka(settings: Settings) -> AsyncIterator[Finding]:
    """Look at brokers, topics, how durable they are, and whether processors run."""
    async with admin_client(settings) as admin:
        brokers = (await admin.describe_cluster())["brokers"]
        yield _brokers(len(brokers), settings)
        yield of_auto_create(await broker_config(admin, [each["node_id"] for each in brokers], AUTO_CREATE))
        described = {topic["topic"]: topic for topic in await admin.describe_topics()}
        state, members = await group_state(admin, settings.group_id)
    differences = await topics.check(settings)
    for difference in differences:
        mend = "`waybill topics apply`" if difference.found is None or "." in difference.property else None
        yield Finding(Level.FAIL, "topics", str(difference), mend or "docs/operating.md; it is never changed by itself")
    if not differences:
        yield Finding(Level.OK, "topics", "as they should be")
    names = [settings.topic(spec.topic) for spec in TOPICS]
    for finding in of_replicas({name: described[name]["partitions"] for name in names if name in described}):
        yield finding
    yield _group(settings, state, members)


async def look_at_brokers_clock(settings: Settings) -> AsyncIterator[Finding]:
    """Look how far this machine's clock is from the brokers'."""
    try:
        yield of_brokers_clock((await clocks(settings)).ahead)
    except UnreachableError as error:
        yield Finding(Level.WARN, "kafka clock", str(error), CLOCK_MEND if isinstance(error, DeniedError) else None)


def of_brokers_clock(ahead: timedelta) -> Finding:
    """Judge how far this machine's clock is ahead of the brokers'; negative: behind."""
    noticed, _ = SKEW
    if abs(ahead) <= noticed:
        return Finding(Level.OK, "kafka clock", "the brokers' and this machine's agree")
    found = f"this machine's is {abs(ahead).total_seconds():.0f} s {'ahead of' if ahead > timedelta(0) else 'behind'}"
    refused = f"; beyond {MOST_OFF.total_seconds() / 60:.0f} min a door takes nothing"
    return Finding(Level.WARN, "kafka clock", f"{found} the brokers'{refused}", "synchronize them (NTP)")


def _brokers(count: int, settings: Settings) -> Finding:
    wanted = settings.topic_replication_factor
    if count < wanted:
        found = f"{count} brokers, fewer than the {wanted} copies of each partition"
        return Finding(Level.FAIL, "kafka", found, "start more brokers, or set WAYBILL_TOPIC_REPLICATION_FACTOR")
    return Finding(
        Level.OK, "kafka", f"{count} {'broker' if count == 1 else 'brokers'} at {settings.kafka_bootstrap_servers}"
    )


def of_auto_create(found: Mapping[int, str | None]) -> Finding:
    """Judge whether brokers make a topic of a name that somebody asks for."""
    making = [str(broker) for broker, value in sorted(found.items()) if value == "true"]
    if making:
        text = f"broker {some(making)} makes a topic of any name that is asked for, with the brokers' defaults"
        return Finding(Level.WARN, "auto create", text, f"set {AUTO_CREATE}=false on every broker")
    if None in found.values():
        return Finding(
            Level.WARN,
            "auto create",
            f"whether brokers make topics by themselves cannot be seen ({AUTO_CREATE})",
            "deploy/kafka-acls.sh, run by an administrator",
        )
    return Finding(Level.OK, "auto create", "brokers make no topics by themselves")


def of_replicas(partitions: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[Finding]:
    """Judge how durable what is appended now is, by topic."""
    copies = min((len(each["replicas"]) for of in partitions.values() for each in of), default=0)
    if not copies:
        return
    thin = [(f"{name}-{each['partition']}", each) for name, of in sorted(partitions.items()) for each in of]
    away = [name for name, each in thin if each["leader"] < 0]
    refusing = [name for name, each in thin if len(each["isr"]) < min_insync_replicas(len(each["replicas"]))]
    lagging = [name for name, each in thin if len(each["isr"]) < len(each["replicas"])]
    if away:
        yield Finding(Level.FAIL, "durability", f"without a leader: {some(away)}", "start the brokers that hold them")
    elif refusing:
        yield Finding(
            Level.FAIL,
            "durability",
            f"too few copies in sync, nothing can be appended: {some(refusing)}",
            "start the brokers that are away",
        )
    elif lagging:
        yield Finding(
            Level.WARN, "durability", f"not every copy in sync: {some(lagging)}", "start the brokers that are away"
        )
    elif copies == 1:
        yield Finding(
            Level.WARN,
            "durability",
            "one copy of each record: a broker's disk lost is webhooks lost",
            "three brokers and WAYBILL_TOPIC_REPLICATION_FACTOR=3",
        )
    else:
        yield Finding(Level.OK, "durability", f"{copies} copies of each record, all in sync")


def _group(settings: Settings, state: str, members: int) -> Finding:
    if members:
        level = Level.OK if state == GROUP_STABLE else Level.WARN
        return Finding(level, "processors", f"{members} in group {settings.group_id}, {state}")
    return Finding(Level.WARN, "processors", f"none in group {settings.group_id}", "start `waybill processor`")
