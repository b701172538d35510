"""`waybill topics apply` and `check` on a real broker."""

import asyncio
import itertools
import json
import time
from datetime import timedelta

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from cli.main import main
from processor.core.cursor import Stream
from processor.core.messages import Message
from processor.kafka.emitter import Emitter
from processor.protocol.crash_points import no_one
from runtime import kafka_admin, topics
from runtime.errors import SetupError
from runtime.kafka import admin_client, new_producer, start, stop
from runtime.settings import LEAST_MESSAGE_BYTES, Settings, load_settings
from schemas.topics import TOPICS, Topic
from tests.waiting import until


@pytest.fixture
def environ(kafka_bootstrap_servers: str, topic_prefix: str) -> dict[str, str]:
    return {
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap_servers,
        "WAYBILL_TOPIC_PREFIX": topic_prefix,
        "WAYBILL_TOPIC_PARTITIONS": "3",
        "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
    }


@pytest.fixture
def settings(environ: dict[str, str]) -> Settings:
    return load_settings(environ)


async def found(settings: Settings, topic: Topic, *configs: str) -> kafka_admin.FoundTopic:
    name = settings.topic(topic)
    async with admin_client(settings) as admin:
        return (await kafka_admin.find_topics(admin, [name], list(configs)))[name]


async def drift(settings: Settings) -> tuple[topics.TopicDifference, ...]:
    """What differs, once the broker shows that something does: its answers lag behind what was done."""
    async with asyncio.timeout(10):
        while not (differences := await topics.check(settings)):
            await asyncio.sleep(0.05)
    return differences


async def test_missing_topics_are_found_made_and_then_left_alone(settings: Settings) -> None:
    before = await topics.check(settings)
    assert [str(difference) for difference in before] == [f"{settings.topic(spec.topic)}: missing" for spec in TOPICS]

    applied = await topics.apply(settings)
    assert applied.created == tuple(settings.topic(spec.topic) for spec in TOPICS)
    assert applied.left == ()

    assert await topics.check(settings) == ()
    assert await topics.apply(settings) == topics.TopicChanges((), (), ())


async def test_topics_are_kept_as_documented(settings: Settings) -> None:
    await topics.apply(settings)
    names = ("cleanup.policy", "retention.ms", "max.message.bytes", "min.insync.replicas")
    raw = await found(settings, Topic.RAW, *names)
    events = await found(settings, Topic.EVENTS, *names)
    state = await found(settings, Topic.STATE, *names)
    assert (raw.partitions, raw.replication_factor) == (3, 1)
    assert raw.configs == {
        "cleanup.policy": "delete",
        "retention.ms": str(30 * 86400 * 1000),
        "max.message.bytes": str(2 * 1048576 + 65536),
        "min.insync.replicas": "1",
    }
    assert events.configs["retention.ms"] == str(14 * 86400 * 1000)
    assert state.configs["cleanup.policy"] == "compact"
    assert events.configs["max.message.bytes"] == state.configs["max.message.bytes"] == raw.configs["max.message.bytes"]


async def publish(settings: Settings, message: Message) -> None:
    """Publish one message as a worker of partition 0 does, with a claim of its own."""
    stream = Stream(settings.topic(Topic.RAW), 3, settings.group_id)
    emitter = Emitter(settings, stream, 0, no_one)
    try:
        await emitter.open()
        await emitter.publish([message], None, 0)
    finally:
        await emitter.close()


async def test_a_topic_that_takes_too_little_is_named_and_mended(settings: Settings) -> None:
    await topics.apply(settings)
    name = settings.topic(Topic.EVENTS)
    event = Message(Topic.EVENTS, b"dash:DE-0", b"x" * LEAST_MESSAGE_BYTES, [], 0)
    await publish(settings, event)
    async with admin_client(settings) as admin:
        await kafka_admin.set_configs(admin, {name: {"max.message.bytes": "1000"}})

    async def refusal() -> str:
        try:
            await publish(settings, event)
        except MessageSizeTooLargeError as error:
            return str(error)
        return ""

    async def is_refused() -> bool:
        return "waybill topics apply" in await refusal()

    async def is_taken() -> bool:
        return not await refusal()

    # What the broker has agreed to, and shows, does not hold at once.
    await until(is_refused)
    await drift(settings)
    await topics.apply(settings)
    await until(is_taken)


async def test_drifted_configs_are_mended_and_others_stay(settings: Settings) -> None:
    await topics.apply(settings)
    name = settings.topic(Topic.EVENTS)
    async with admin_client(settings) as admin:
        await kafka_admin.set_configs(admin, {name: {"retention.ms": "1000", "segment.bytes": "1048576"}})

    (difference,) = await drift(settings)
    assert str(difference) == f"{name}: retention.ms is 1000, should be 1209600000"

    assert (await topics.apply(settings)).altered == (difference,)
    assert await topics.check(settings) == ()
    assert (await found(settings, Topic.EVENTS, "segment.bytes")).configs["segment.bytes"] == "1048576"


async def test_topics_of_an_older_version_learn_to_take_any_time(settings: Settings) -> None:
    await topics.apply(settings)
    names = [settings.topic(spec.topic) for spec in TOPICS]
    limits = ("message.timestamp.after.max.ms", "message.timestamp.before.max.ms")
    async with admin_client(settings) as admin:
        await kafka_admin.set_configs(admin, {name: dict.fromkeys(limits, "3600000") for name in names})

    async with asyncio.timeout(10):
        while len(found_ := await topics.check(settings)) < len(names) * len(limits):
            await asyncio.sleep(0.05)
    assert {(each.topic, each.property) for each in found_} == set(itertools.product(names, limits))
    assert set((await topics.apply(settings)).altered) == set(found_)
    assert await topics.check(settings) == ()

    years = (timedelta(days=-3650), timedelta(hours=7), timedelta(days=3650))
    producer = new_producer(settings, "test")
    await start(producer)
    try:
        for name, off in itertools.product(names, years):
            at = int((time.time() + off.total_seconds()) * 1000)
            await producer.send_and_wait(name, b"{}", key=b"k", timestamp_ms=at)
    finally:
        await stop(producer)


async def test_a_partition_count_is_never_changed(settings: Settings) -> None:
    await topics.apply(settings)
    name = settings.topic(Topic.STATE)
    async with admin_client(settings) as admin:
        await admin.create_partitions({name: NewPartitions(total_count=5)})

    wrong = topics.TopicDifference(name, "partitions", "3", "5")
    assert await drift(settings) == (wrong,)
    assert (await topics.apply(settings)).left == (wrong,)
    assert (await found(settings, Topic.STATE)).partitions == 5


async def test_another_replication_factor_is_told_and_does_not_stop_writes(
    settings: Settings, environ: dict[str, str]
) -> None:
    await topics.apply(settings)
    wanting_three = load_settings({**environ, "WAYBILL_TOPIC_REPLICATION_FACTOR": "3"})

    applied = await topics.apply(wanting_three)

    assert applied.altered == ()
    assert {difference.property for difference in applied.left} == {topics.REPLICATION_FACTOR}
    assert (await found(settings, Topic.RAW, "min.insync.replicas")).configs == {"min.insync.replicas": "1"}


async def test_more_copies_than_brokers_is_one_clear_line(environ: dict[str, str]) -> None:
    with pytest.raises(SetupError, match=r"replication factor .*\(WAYBILL_TOPIC_REPLICATION_FACTOR\)"):
        await topics.apply(load_settings({**environ, "WAYBILL_TOPIC_REPLICATION_FACTOR": "3"}))


async def test_looking_makes_no_topic(settings: Settings) -> None:
    await topics.check(settings)
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        assert not [name for name in await admin.list_topics() if name.startswith(settings.topic_prefix)]
    finally:
        await admin.close()


def test_the_commands_exit_codes(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["topics", "check"]) == 1
    assert "missing" in capsys.readouterr().out
    assert main(["topics", "apply", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["created"]) == len(TOPICS)
    assert main(["topics", "check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "differences": []}
    monkeypatch.setenv("WAYBILL_TOPIC_PARTITIONS", "4")
    assert main(["topics", "check"]) == 1
    assert "partitions is 3, should be 4" in capsys.readouterr().out
    assert main(["topics", "apply"]) == 1
    assert "partitions is 3, should be 4; left as it is" in capsys.readouterr().err


async def test_configs_are_set_by_the_brokers_own_words(settings: Settings) -> None:
    """What the broker says of a topic agrees with what another reader of it sees."""
    await topics.apply(settings)
    name = settings.topic(Topic.DEAD_LETTERS)
    async with admin_client(settings) as admin:
        with pytest.raises(SetupError, match="does not alter"):
            await kafka_admin.set_configs(admin, {name: {"retention.ms": "soon"}})
        (response,) = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name, {"retention.ms": ""})]
        )
    assert response.resources[0][4][0][:2] == ("retention.ms", str(30 * 86400 * 1000))
