"""TLS, log-ins and least privilege on a broker and a database of their own: what works with them, and what must not."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import asyncpg
import msgspec
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, for_code
from aiokafka.helpers import create_ssl_context

from devstack import MissingToolError, for_tests
from operators.doctor.finding import Level
from operators.doctor.postgres import LOOKING, PRIVILEGES, look_at_postgres
from runtime import kafka, kafka_admin
from runtime.clock import clocks
from runtime.errors import DeniedError, SetupError
from runtime.settings import load_settings
from schemas.partitioning import partition_of
from schemas.topics import Topic
from tests.conftest import lacking
from tests.integration.secured import (
    BROKER,
    LOGINS,
    OWNER,
    PREFIX,
    ROOT,
    SUBSCRIBER,
    Secured,
    Service,
    command,
    secured_services,
    service,
)
from tests.integration.subscribers import LANGUAGES, LackingError, jdbc, subscriber
from tests.integration.system import PARTITIONS, START, dash, raw_records
from tests.waiting import DEADLINE, until

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

DOOR: Final = {
    "WAYBILL_DASH_SECRETS": "dash-secret",
    "WAYBILL_INGEST_PORT": "0",
    "WAYBILL_INGEST_ADMIN_PORT": "0",
    "WAYBILL_INGEST_SPOOL_DIR": "",
    "WAYBILL_INGEST_PUBLISH_TIMEOUT": "20s",
    "WAYBILL_PROCESSOR_ADMIN_PORT": "0",
}
WRONG: Final = "not-the-password"

RAW, DEAD_LETTERS, EVENTS, STATE, ANOMALIES = TOPICS = tuple(
    f"{PREFIX}{topic}" for topic in (Topic.RAW, Topic.DEAD_LETTERS, Topic.EVENTS, Topic.STATE, Topic.ANOMALIES)
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secured() -> AsyncIterator[Secured]:
    """Both services with all permissions, topics and tables."""
    try:
        for_tests({"WAYBILL_TEST_STACK": "embedded"})
    except MissingToolError as error:
        lacking(f"no secured Kafka and PostgreSQL: {error}")
    async with secured_services() as running:
        await running.deploy()
        yield running


async def post(door: Service, delivery: str, status: str, minute: int) -> int:
    port = (await door.said("ingest ready"))["port"]
    async with (
        aiohttp.ClientSession() as client,
        client.post(
            f"http://127.0.0.1:{port}/webhooks/dash",
            data=dash(delivery, status, minute),
            headers={"X-Dash-Secret": "dash-secret"},
        ) as answer,
    ):
        return answer.status


async def is_ready(running: Service, started: str) -> bool:
    port = (await running.said(started))["admin_port"]
    async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status == 200


def new_consumer(secured: Secured, user: str, group: str, *topics: str) -> AIOKafkaConsumer:
    """Make a consumer of a group, as somebody else would."""
    return AIOKafkaConsumer(
        *topics,
        bootstrap_servers=secured.kafka.bootstrap_servers,
        group_id=group,
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-256",
        sasl_plain_username=user,
        sasl_plain_password=secured.passwords[user],
        ssl_context=create_ssl_context(cafile=secured.cafile),
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )


async def first(consumer: AIOKafkaConsumer) -> Any:
    """Return the first record that a consumer gets."""
    await consumer.start()
    try:
        async with asyncio.timeout(DEADLINE):
            return await consumer.getone()
    finally:
        await consumer.stop()


async def test_everybody_can_do_their_work(secured: Secured) -> None:
    door_settings = secured.kafka_settings("waybill-ingest") | {"WAYBILL_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256"}
    async with (
        service("ingest", DOOR | door_settings) as door,
        service("processor", DOOR | secured.settings("waybill-processor")) as processor,
    ):
        assert await post(door, "DE-1", "PREPARING", 0) == 200
        record = await first(new_consumer(secured, SUBSCRIBER, f"{PREFIX}{SUBSCRIBER}.reports", EVENTS))
        event = msgspec.json.decode(record.value)
        assert (event["shipment_id"], event["version"]) == ("dash:DE-1", 1)
        await until(lambda: is_ready(processor, "processor started"))
        for running in (door, processor):
            running.process.terminate()
            assert await running.process.wait() == 0
    assert await secured.ask(SUBSCRIBER, "select shipment_id from shipments") == ["dash:DE-1"]
    for words, user in (
        (("topics", "check"), "waybill-topics"),
        (("topics", "check"), "waybill-operator"),
        (("recover", "--dry-run"), "waybill-processor"),
    ):
        code, said = await command(
            *words, environ=secured.settings(user) if user in LOGINS else secured.kafka_settings(user)
        )
        assert code == 0, said


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def told(secured: Secured) -> None:
    """A parcel that subscribers can read about."""
    async with service("processor", DOOR | secured.settings("waybill-processor")) as processor:
        await write(secured, "waybill-operator", RAW, "DE-told")

        async def is_known() -> bool:
            return await secured.ask(SUBSCRIBER, "select 1 from shipments where shipment_id = 'dash:DE-told'") == [1]

        await until(is_known)
        await until(lambda: is_ready(processor, "processor started"))


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("language", LANGUAGES)
async def test_an_example_subscriber_logs_in(
    secured: Secured, empty_database_url: str, language: str, tmp_path: Path
) -> None:
    """By SCRAM over TLS, with the rights that `deploy/kafka-acls.sh` gives a subscriber."""
    try:
        command = await LANGUAGES[language](tmp_path)
    except LackingError as error:
        lacking(f"no subscriber in {language}: {error}")
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": secured.kafka.bootstrap_servers,
        "KAFKA_TOPIC_PREFIX": PREFIX,
        "KAFKA_GROUP_ID": f"{PREFIX}{SUBSCRIBER}.{language}",
        "KAFKA_USERNAME": SUBSCRIBER,
        "KAFKA_PASSWORD": secured.passwords[SUBSCRIBER],
        **dict.fromkeys(("KAFKA_CA_FILE", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE"), secured.cafile),
        "DATABASE_URL": jdbc(empty_database_url) if language == "java" else empty_database_url,
    }
    table = await asyncpg.connect(empty_database_url)
    async with subscriber(command, environ):

        async def has_read() -> bool:
            if await table.fetchval("select to_regclass('offsets')") is None:
                return False
            return bool(await table.fetchval("select count(*) from offsets where topic like '%events'"))

        await until(has_read)
        assert await table.fetchval("select version from parcels where shipment_id = 'dash:DE-told'") == 1
    await table.close()


async def test_the_brokers_tell_the_time_to_those_who_need_it(secured: Secured) -> None:
    for user in ("waybill-ingest", "waybill-operator", "waybill-console"):
        found = await clocks(load_settings(secured.kafka_settings(user)))
        assert abs(found.ahead) < timedelta(minutes=1)
    with pytest.raises(DeniedError, match="permission to describe the cluster"):
        await clocks(load_settings(secured.kafka_settings("waybill-processor")))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"WAYBILL_KAFKA_SASL_PASSWORD": WRONG}, ("refuses the log-in of waybill-topics", "SASL_PASSWORD")),
        ({"WAYBILL_KAFKA_SASL_MECHANISM": "PLAIN"}, ("does not take log-ins by PLAIN", "SASL_MECHANISM")),
        ({"WAYBILL_KAFKA_SSL_CAFILE": "{place}/stranger.pem"}, ("certificate", "not trusted", "SSL_CAFILE")),
        ({"WAYBILL_KAFKA_SSL_CAFILE": "{place}/admin.properties"}, ("SSL_CAFILE", "no certificate")),
        ({"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": "localhost:{port}"}, ("not valid for 'localhost'",)),
        ({"WAYBILL_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT"}, ("closed", "SECURITY_PROTOCOL=PLAINTEXT")),
        ({"WAYBILL_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}, ("closed", "SECURITY_PROTOCOL=SASL_PLAINTEXT")),
        ({"WAYBILL_KAFKA_SECURITY_PROTOCOL": "SSL"}, ("closed", "SECURITY_PROTOCOL=SSL")),
    ],
)
async def test_a_wrong_way_to_kafka_is_one_clear_line(
    secured: Secured, change: Mapping[str, str], words: tuple[str, ...]
) -> None:
    port = secured.kafka.bootstrap_servers.split(":")[1]
    changed = {name: value.format(place=secured.place, port=port) for name, value in change.items()}
    right = secured.kafka_settings("waybill-topics")
    code, said = await command("topics", "check", environ=right | changed)
    assert code == 1
    assert_one_line(said, words, right["WAYBILL_KAFKA_SASL_PASSWORD"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((":{password}@", f":{WRONG}@"), ("does not let us in", "password authentication failed")),
        (("ca.pem", "stranger.pem"), ("does not let us in", "certificate verify failed")),
        (("@127.0.0.1", "@localhost"), ("does not let us in", "localhost")),
        (("sslmode=verify-full", "sslmode=disable"), ("cannot be used",)),
        ((":{port}/", ":{bare}/"), ("cannot be used", "SSL")),
    ],
)
async def test_a_wrong_way_to_postgres_is_one_clear_line(
    secured: Secured, change: tuple[str, str], words: tuple[str, ...]
) -> None:
    facts = {"password": secured.passwords[OWNER], "port": secured.postgres_port, "bare": secured.bare_postgres_port}
    right, wrong = (text.format(**facts) for text in change)
    url = secured.database_url(OWNER)
    assert right in url
    code, said = await command("migrate", environ={"WAYBILL_DATABASE_URL": url.replace(right, wrong)})
    assert code == 1
    assert_one_line(said, words, secured.passwords[OWNER])


def assert_one_line(said: str, words: tuple[str, ...], secret: str) -> None:
    (line,) = said.splitlines()
    for word in words:
        assert word in line
    assert secret not in line
    assert WRONG not in line


async def test_a_service_says_that_it_is_not_let_in(secured: Secured) -> None:
    wrong = {"WAYBILL_KAFKA_SASL_PASSWORD": WRONG}
    right = secured.settings("waybill-processor")
    url = right["WAYBILL_DATABASE_URL"].replace(secured.passwords["waybill-processor"], WRONG)
    cases = [
        ("ingest", secured.kafka_settings("waybill-ingest") | wrong, "kafka closed to us", "refuses the log-in"),
        ("ingest", secured.kafka_settings(SUBSCRIBER), "kafka closed to us", "does not allow"),
        ("processor", right | wrong, "store closed to us", "refuses the log-in"),
        ("processor", right | {"WAYBILL_DATABASE_URL": url}, "store closed to us", "password authentication failed"),
        ("processor", right | secured.kafka_settings("waybill-operator"), "waiting", "GroupAuthorizationFailedError"),
        ("processor", right | secured.kafka_settings(SUBSCRIBER), "store without the topic", "may not see it"),
        (
            "processor",
            secured.settings(SUBSCRIBER) | secured.kafka_settings("waybill-processor"),
            "waiting",
            "permission denied",
        ),
    ]
    async with AsyncExitStack() as opened:
        running = [await opened.enter_async_context(service(name, DOOR | settings)) for name, settings, *_ in cases]
        for each, (name, _, event, words) in zip(running, cases, strict=True):
            said = await each.said(event, words)
            assert said["level"] == "warning"
            assert not await is_ready(each, "ingest ready" if name == "ingest" else "processor started")
        for each in running:
            each.process.terminate()
            assert await each.process.wait() == 0
            assert WRONG not in str(each.log)


async def test_a_permission_taken_away_at_run_time(secured: Secured) -> None:
    denied = (
        *("--deny-principal", "User:waybill-ingest", "--deny-principal", "User:waybill-processor"),
        *("--operation", "Write", "--topic", RAW, "--topic", EVENTS),
    )
    brief = {"WAYBILL_INGEST_PUBLISH_TIMEOUT": "5s"}
    async with (
        service("ingest", DOOR | brief | secured.kafka_settings("waybill-ingest")) as door,
        service("processor", DOOR | secured.settings("waybill-processor")) as processor,
    ):
        await until(lambda: is_ready(door, "ingest ready"))
        await until(lambda: is_ready(processor, "processor started"))
        await secured.acls("--add", *denied)
        assert await post(door, "DE-2", "PREPARING", 0) == 503
        await door.said("publishing failed", "TopicAuthorizationFailedError")
        await door.said("kafka closed to us")
        assert not await is_ready(door, "ingest ready")
        await write(secured, "waybill-operator", RAW, "DE-3")
        await processor.said("claiming again", "TopicAuthorizationFailedError", EVENTS)
        assert not await is_ready(processor, "processor started")
        await secured.acls("--remove", "--force", *denied)
        await until(lambda: is_ready(door, "ingest ready"))
        await until(lambda: is_ready(processor, "processor started"))
        assert await post(door, "DE-2", "PREPARING", 0) == 200


async def test_a_console_that_looks_lacks_no_privilege(secured: Secured) -> None:
    """`waybill doctor` judges it by what looking takes; an operator's commands need more than it has."""
    settings = load_settings(secured.settings("waybill-console"))
    for privileges, level in ((LOOKING, Level.OK), (PRIVILEGES, Level.FAIL)):
        found = {finding.what: finding.level async for finding in look_at_postgres(settings, privileges)}
        assert found["privileges"] is level


async def write(secured: Secured, user: str, topic: str, delivery: str = "DE-9") -> None:
    """Append a raw record."""
    (record,) = raw_records("dash", dash(delivery, "PREPARING", 0), START)
    producer = kafka.new_producer(load_settings(secured.kafka_settings(user)), "test")
    await kafka.start(producer)
    try:
        async with asyncio.timeout(DEADLINE):
            home = partition_of(record.key, PARTITIONS)
            await producer.send_and_wait(
                topic, record.value, record.key, home, record.timestamp_ms, headers=record.headers
            )
    finally:
        await kafka.stop(producer)


async def read(secured: Secured, user: str, topic: str) -> None:
    """Fetch a topic's first partition, empty or not."""
    settings = load_settings(secured.kafka_settings(user))
    async with kafka.admin_client(settings) as admin:
        (found,) = await admin.describe_topics([topic])
    if found["error_code"]:
        raise for_code(found["error_code"])
    async with kafka.open_reader(settings, "test") as reader:
        part = TopicPartition(topic, 0)
        reader.assign([part])
        async with asyncio.timeout(DEADLINE):
            await reader.seek_to_beginning(part)
            while reader.highwater(part) is None:
                await reader.getmany(part, timeout_ms=100)


async def commit(secured: Secured, user: str, group: str) -> None:
    """Move a group's offset."""
    consumer = new_consumer(secured, user, group)
    await consumer.start()
    try:
        part = TopicPartition(EVENTS, 0)
        consumer.assign([part])
        async with asyncio.timeout(DEADLINE):
            await consumer.commit({part: 0})
    finally:
        await consumer.stop()


async def offsets(secured: Secured, user: str, group: str) -> None:
    """Look at a group's offsets."""
    async with kafka.admin_client(load_settings(secured.kafka_settings(user))) as admin:
        await admin.list_consumer_group_offsets(group)


async def transact(secured: Secured, user: str, transactional_id: str) -> None:
    """Fence whoever works under this id."""
    producer = kafka.new_transactional_producer(load_settings(secured.kafka_settings(user)), transactional_id)
    await kafka.start(producer)
    await kafka.stop(producer)


async def create(secured: Secured, user: str, topic: str) -> None:
    """Make a topic."""
    async with kafka.admin_client(load_settings(secured.kafka_settings(user))) as admin:
        await kafka_admin.create_topics(admin, [(topic, PARTITIONS, 1, {})])


async def alter(secured: Secured, user: str, topic: str) -> None:
    """Change how long a topic is kept."""
    async with kafka.admin_client(load_settings(secured.kafka_settings(user))) as admin:
        await kafka_admin.set_configs(admin, {topic: {"retention.ms": "1000"}})


async def delete(secured: Secured, user: str, topic: str) -> None:
    """Delete a topic."""
    async with kafka.admin_client(load_settings(secured.kafka_settings(user))) as admin:
        response = await admin.delete_topics([topic])
    ((_, code),) = response.topic_error_codes
    if code:
        raise for_code(code)


Deed = Callable[[Secured, str, str], Awaitable[None]]
GROUP: Final = f"{PREFIX}waybill-processor"
JOB: Final = f"{PREFIX}replay-20261101-0a1b2c3d"
REPLAYED: Final = f"{PREFIX}replay.events"

ALLOWED_AT_KAFKA: Final[list[tuple[str, Deed, str]]] = [
    (SUBSCRIBER, commit, f"{PREFIX}{SUBSCRIBER}.reports"),  # the first commit makes Kafka ready for groups
    ("waybill-reconcile", write, RAW),
    ("waybill-operator", write, RAW),
    ("waybill-operator", write, REPLAYED),
    *[("waybill-operator", read, topic) for topic in TOPICS],
    ("waybill-processor", read, STATE),
    *[(SUBSCRIBER, read, topic) for topic in (EVENTS, STATE, ANOMALIES)],
    *[("waybill-console", read, topic) for topic in TOPICS],
    ("waybill-console", offsets, GROUP),
    ("waybill-operator", offsets, GROUP),
    ("waybill-operator", transact, JOB),
    ("waybill-operator", commit, JOB),
]
REFUSED_AT_KAFKA: Final[list[tuple[str, Deed, str]]] = [
    *[("waybill-topics", deed, topic) for topic in TOPICS for deed in (read, write, delete)],
    ("waybill-topics", create, f"{PREFIX}another"),
    ("waybill-topics", transact, f"{GROUP}-0"),
    *[("waybill-ingest", write, topic) for topic in TOPICS if topic != RAW],
    *[("waybill-ingest", read, topic) for topic in TOPICS],
    ("waybill-ingest", transact, f"{GROUP}-0"),
    ("waybill-ingest", commit, GROUP),
    *[("waybill-reconcile", write, topic) for topic in TOPICS if topic != RAW],
    *[("waybill-reconcile", read, topic) for topic in TOPICS],
    ("waybill-processor", write, RAW),
    ("waybill-processor", write, REPLAYED),
    *[("waybill-processor", read, topic) for topic in (DEAD_LETTERS, EVENTS, ANOMALIES)],
    ("waybill-processor", commit, f"{PREFIX}{SUBSCRIBER}.reports"),
    ("waybill-processor", transact, f"{PREFIX}other-0"),
    *[("waybill-operator", write, topic) for topic in TOPICS if topic != RAW],
    ("waybill-operator", commit, GROUP),
    ("waybill-operator", transact, f"{GROUP}-0"),
    *[("waybill-console", write, topic) for topic in TOPICS],
    ("waybill-console", commit, GROUP),
    *[(SUBSCRIBER, read, topic) for topic in (RAW, DEAD_LETTERS)],
    *[(SUBSCRIBER, write, topic) for topic in TOPICS],
    *[(SUBSCRIBER, deed, group) for group in (GROUP, f"{PREFIX}{SUBSCRIBER}", "reports") for deed in (commit, offsets)],
    (SUBSCRIBER, transact, f"{GROUP}-0"),
    *[
        (user, deed, topic)
        for user in ("waybill-ingest", "waybill-reconcile", "waybill-processor", "waybill-operator", SUBSCRIBER)
        for deed, topic in ((create, f"{PREFIX}another"), (alter, RAW), (delete, RAW))
    ],
]


async def test_kafka_allows_each_user_its_work_and_no_more(secured: Secured) -> None:
    await create(secured, BROKER, REPLAYED)
    for user, deed, what in ALLOWED_AT_KAFKA:
        await deed(secured, user, what)
    answers = [
        (user, deed.__name__, what, await refusal(deed(secured, user, what))) for user, deed, what in REFUSED_AT_KAFKA
    ]
    assert not [answer for answer in answers if not re.search("Authorization ?Failed", answer[-1], re.IGNORECASE)]


async def refusal(deed: Awaitable[None]) -> str:
    try:
        await deed
    except (SetupError, KafkaError) as error:
        return str(error)
    return "done"


RETAINED: Final = ("observations", "outputs", "applied_commands", "dead_letter_decisions", "replay_jobs")

ALLOWED_IN_SQL: Final = [
    ("waybill-operator", "select * from shipments, observations, outputs, cursors"),
    ("waybill-operator", "insert into operator_log (operator, command, detail) values ('me', 'doctor', '{}')"),
    ("waybill-operator", "update replay_jobs set status = 'paused' where false"),
    ("waybill-operator", "update outputs set value = null where false"),
    *[("waybill-console", f"select from {table} limit 1") for table in (*RETAINED, "shipments", "operator_log")],
    ("waybill-console", "insert into operator_log (operator, command, detail) values ('me', 'console', '{}')"),
    ("waybill-console", "select from ask_requests"),
    ("waybill-operator", "insert into ask_requests (request) select '' where false"),
    ("waybill-retention", "select from cursors for update"),
    ("waybill-retention", "update cursors set rowless = 0 where false"),
    *[("waybill-retention", f"delete from {table} where false") for table in RETAINED],
    ("waybill-processor", "select detail from operator_log"),
    ("waybill-reconcile", "select shipment_id from shipments where not final"),
    ("waybill-reconcile", "select reading, said, event from observations"),
    ("waybill-reconcile", "delete from reconcile_asks"),
    ("waybill-reconcile", "update ask_requests set outcome = null where false"),
    (SUBSCRIBER, "select status, count(*) from shipments group by status"),
]
REFUSED_IN_SQL: Final = [
    ("waybill-processor", "delete from shipments"),
    ("waybill-processor", "truncate observations"),
    ("waybill-processor", "alter table shipments drop column personal"),
    ("waybill-processor", "insert into replay_positions select"),
    ("waybill-processor", "insert into operator_log (operator, command, detail) values ('me', 'recover', '{}')"),
    ("waybill-processor", "update operator_log set operator = ''"),
    ("waybill-processor", "delete from schema_migrations"),
    *[
        ("waybill-operator", f"{verb} {table} {rest}")
        for table in ("shipments", "observations", "outputs", "cursors", "applied_commands", "schema_migrations")
        for verb, rest in (("delete from", ""), ("insert into", "select"))
    ],
    *[
        ("waybill-console", f"{verb} {table} {rest}")
        for table in (
            "shipments",
            "outputs",
            "replay_jobs",
            "replay_positions",
            "dead_letter_decisions",
            "ask_requests",
        )
        for verb, rest in (("delete from", ""), ("insert into", "select"))
    ],
    ("waybill-operator", "update ask_requests set outcome = null"),
    ("waybill-operator", "delete from ask_requests"),
    ("waybill-console", "update replay_jobs set status = 'paused' where false"),
    ("waybill-console", "update outputs set value = null where false"),
    ("waybill-console", "update operator_log set operator = ''"),
    ("waybill-operator", "update shipments set status = ''"),
    ("waybill-operator", "update observations set kept = false"),
    ("waybill-operator", "update outputs set cause_offset = 0"),
    ("waybill-retention", "delete from shipments"),
    ("waybill-retention", "delete from operator_log"),
    ("waybill-retention", "update cursors set next_offset = 0"),
    ("waybill-retention", "update outputs set value = null"),
    ("waybill-operator", "update cursors set epoch = 0"),
    ("waybill-operator", "update operator_log set operator = ''"),
    ("waybill-operator", "delete from operator_log"),
    ("waybill-reconcile", "select personal from shipments"),
    ("waybill-reconcile", "update shipments set status = ''"),
    ("waybill-reconcile", "delete from observations"),
    (SUBSCRIBER, "select * from shipments"),
    (SUBSCRIBER, "select personal from shipments"),
    (SUBSCRIBER, "update shipments set status = ''"),
    *[(SUBSCRIBER, f"select from {table}") for table in ("observations", "outputs", "cursors", "operator_log")],
    *[(login, "create table another ()") for login in LOGINS],
]


async def test_sql_allows_each_role_its_work_and_no_more(secured: Secured) -> None:
    for login, statement in ALLOWED_IN_SQL:
        await secured.execute(login, statement)
    allowed = []
    for login, statement in REFUSED_IN_SQL:
        try:
            await secured.execute(login, statement)
        except asyncpg.InsufficientPrivilegeError:
            continue
        allowed.append((login, statement))
    assert not allowed


async def test_a_processor_ends_the_sessions_of_its_own_role_and_no_others(secured: Secured) -> None:
    ending = "select pg_terminate_backend($1)"
    async with (
        secured.connected("waybill-processor") as processor,
        secured.connected("waybill-processor") as frozen,
        secured.connected("waybill-operator") as other,
    ):
        assert await processor.fetchval(ending, frozen.get_server_pid())
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await processor.fetchval(ending, other.get_server_pid())


async def test_the_roles_know_every_table_and_column(secured: Secured) -> None:
    named = re.findall(r"^ +\('(\w+)', ", (ROOT / "deploy/postgres-roles.sql").read_text(), re.MULTILINE)
    tables = await secured.ask(OWNER, "select tablename from pg_tables where schemaname = 'public'")
    assert sorted(named) == sorted(tables)
    hidden = await secured.ask(
        OWNER,
        "select column_name from information_schema.columns where table_name = 'shipments' "
        "and not has_column_privilege('waybill_subscriber', 'shipments', column_name, 'select')",
    )
    assert hidden == ["personal"]
