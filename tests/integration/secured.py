"""A broker and a database server of their own that insist on TLS and log-ins, and the processes that log in."""

import asyncio
import os
import secrets
import shlex
import ssl
import struct
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import asyncpg
import msgspec
import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from devstack import tools
from devstack.home import Home
from devstack.jars import jars
from devstack.kafka import TOOLS, EmbeddedKafka
from devstack.ports import HOST
from devstack.postgres import EmbeddedPostgres
from tests import forking
from tests.waiting import DEADLINE

ROOT: Final = Path(__file__).parents[2]
PREFIX: Final = "sec."
SUBSCRIBER: Final = "billing"
BROKER: Final = "broker"
"""The broker's own user, and the administrators'."""

USERS: Final = (
    BROKER,
    "waybill-topics",
    "waybill-ingest",
    "waybill-reconcile",
    "waybill-processor",
    "waybill-operator",
    "waybill-console",
    SUBSCRIBER,
)
LOGINS: Final = {
    "waybill-processor": "waybill_processor",
    "waybill-operator": "waybill_operator",
    "waybill-console": "waybill_console",
    "waybill-retention": "waybill_retention",
    "waybill-reconcile": "waybill_reconcile",
    SUBSCRIBER: "waybill_subscriber",
}
"""Who logs in to the database, besides its owner, and the role of each."""

OWNER: Final = "waybill-owner"

MECHANISMS: Final = ("SCRAM-SHA-512", "SCRAM-SHA-256")

LOG_SHOWN: Final = 40
"""Lines of a service's log that are shown when a test fails."""

SSL_REQUEST: Final = struct.pack(">ii", 8, 80877103)
"""What a client of PostgreSQL begins with when it wants TLS."""


class Secured:
    """Both services, their authority, and everybody's passwords."""

    def __init__(
        self, kafka: EmbeddedKafka, postgres_ports: tuple[int, int], place: Path, passwords: Mapping[str, str]
    ) -> None:
        self.kafka = kafka
        self.postgres_port, self.bare_postgres_port = postgres_ports
        self.place = place
        self.passwords = passwords
        self.cafile = str(place / "ca.pem")

    def kafka_settings(self, user: str) -> dict[str, str]:
        """Return the settings by which a user of the broker logs in."""
        return {
            "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": self.kafka.bootstrap_servers,
            "WAYBILL_KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "WAYBILL_KAFKA_SASL_MECHANISM": MECHANISMS[0],
            "WAYBILL_KAFKA_SASL_USERNAME": user,
            "WAYBILL_KAFKA_SASL_PASSWORD": self.passwords[user],
            "WAYBILL_KAFKA_SSL_CAFILE": self.cafile,
            "WAYBILL_TOPIC_PREFIX": PREFIX,
            "WAYBILL_TOPIC_PARTITIONS": "2",
            "WAYBILL_TOPIC_REPLICATION_FACTOR": "1",
        }

    def database_url(self, login: str, **options: str) -> str:
        """Return the database's address for one who logs in."""
        query = urlencode({"sslmode": "verify-full", "sslrootcert": self.cafile} | options)
        return f"postgresql://{login}:{self.passwords[login]}@{HOST}:{self.postgres_port}/parcels?{query}"

    async def deploy(self) -> None:
        """Give everybody their permissions by the two files of `deploy/`, and make topics and tables."""
        await asyncio.gather(self._permit(), self._make_tables())
        code, said = await command("topics", "apply", environ=self.kafka_settings("waybill-topics"))
        assert code == 0, said

    async def acls(self, *arguments: str) -> None:
        """Run `kafka-acls` as the administrator."""
        await self.kafka.tool("kafka-acls", "--command-config", str(self.place / "admin.properties"), *arguments)

    async def execute(self, login: str, statements: str) -> None:
        """Run SQL as one who logs in."""
        async with self.connected(login) as connection:
            await connection.execute(statements)

    async def ask(self, login: str, query: str) -> list[Any]:
        """Ask the database as one who logs in; return the rows' first columns."""
        async with self.connected(login) as connection:
            return [row[0] for row in await connection.fetch(query)]

    @asynccontextmanager
    async def connected(self, login: str) -> AsyncIterator[Any]:
        """Give a session of one who logs in."""
        connection = await asyncpg.connect(self.database_url(login))
        try:
            yield connection
        finally:
            await connection.close()

    async def _permit(self) -> None:
        """Run the script on Kafka's own tool, as it is found where Kafka is installed. It runs it a dozen times."""
        tool = self.place / "kafka-acls.sh"
        tool.write_text(f'#!/bin/sh\nexec {shlex.join(self.kafka.java_command(TOOLS["kafka-acls"]))} "$@"\n')
        tool.chmod(0o755)
        script = await asyncio.create_subprocess_exec(
            *(str(ROOT / "deploy/kafka-acls.sh"), "--bootstrap-server", self.kafka.bootstrap_servers),
            *("--command-config", str(self.place / "admin.properties"), "--prefix", PREFIX, "--subscriber", SUBSCRIBER),
            env={**os.environ, "PATH": f"{self.place}:{os.environ['PATH']}"},
        )
        assert await script.wait() == 0

    async def _make_tables(self) -> None:
        code, said = await command("migrate", environ=self.settings(OWNER))
        assert code == 0, said
        roles = (ROOT / "deploy/postgres-roles.sql").read_text()
        logins = [
            f"create role \"{login}\" login password '{self.passwords[login]}' in role {role}"
            for login, role in LOGINS.items()
        ]
        for statement in (roles, *logins, roles):  # doing it again does nothing
            await self.execute(OWNER, statement)

    def settings(self, user: str) -> dict[str, str]:
        """Return the settings of a process. Its log-in at PostgreSQL is named as its user at the broker."""
        kafka = self.kafka_settings(user) if user in USERS else {}
        return {**kafka, "WAYBILL_DATABASE_URL": self.database_url(user)}


@asynccontextmanager
async def secured_services() -> AsyncIterator[Secured]:
    """Start the two services, with all users and log-ins; neither has topics or tables yet."""
    java, install = tools.java(), tools.postgres_install()
    assert java is not None
    assert install is not None
    passwords = {user: secrets.token_urlsafe(12) for user in {*USERS, *LOGINS, OWNER}}
    async with AsyncExitStack() as opened:
        place = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="waybill-secured-")))
        _write_certificates(place)
        _write_admin_settings(place, passwords[BROKER])
        homes = [Home.fresh(name) for name in ("kafka", "postgres")]
        for home in homes:
            opened.callback(home.release)
        kafka = EmbeddedKafka(
            java,
            await jars(print),
            homes[0],
            _broker_settings(place, passwords[BROKER]),
            [
                f"--add-scram={mechanism}=[name={user},password={passwords[user]}]"
                for user in USERS
                for mechanism in MECHANISMS
            ],
        )
        postgres = EmbeddedPostgres(install, homes[1])
        for service in (kafka, postgres):
            opened.push_async_callback(service.stop)
        await asyncio.gather(kafka.start(print), postgres.start(print))
        await _make_owner(postgres, passwords)
        bare = urlsplit(postgres.database_url).port
        assert bare is not None
        port = await opened.enter_async_context(_tls_before(bare, place / "server.pem"))
        yield Secured(kafka, (port, bare), place, passwords)


@asynccontextmanager
async def _tls_before(port: int, certificate: Path) -> AsyncIterator[int]:
    """Serve TLS before a PostgreSQL that was built without it, as a connection pooler may. Only TLS is let in."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, EOFError), closing(writer):
            if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                return
            writer.write(b"S")
            await writer.start_tls(context)
            above, upstream = await asyncio.open_connection(HOST, port)
            with closing(upstream):
                pumps = [asyncio.create_task(_pump(reader, upstream)), asyncio.create_task(_pump(above, writer))]
                try:
                    await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for pump in pumps:
                        pump.cancel()
                    await asyncio.gather(*pumps, return_exceptions=True)

    async with asyncio.TaskGroup() as group:
        serving: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(lambda *streams: serving.add(group.create_task(serve(*streams))), HOST)
        async with server:
            yield server.sockets[0].getsockname()[1]
        for task in serving:
            task.cancel()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(64 * 1024):
        sink.write(data)
        await sink.drain()


def _write_certificates(place: Path) -> None:
    """Write an authority, a certificate for 127.0.0.1 by it, and a stranger's authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(place / "ca.pem")
    trustme.CA().cert_pem.write_to_path(place / "stranger.pem")
    issued = authority.issue_cert(HOST)
    key = load_pem_private_key(issued.private_key_pem.bytes(), None)
    # Kafka reads PKCS #8 only.
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (place / "server.pem").write_bytes(text + issued.cert_chain_pems[0].bytes())


def _write_admin_settings(place: Path, password: str) -> None:
    settings = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": MECHANISMS[0],
        "sasl.jaas.config": _jaas(password),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(place / "ca.pem"),
    }
    (place / "admin.properties").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def _jaas(password: str) -> str:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return f'{module} required username="{BROKER}" password="{password}";'


def _broker_settings(place: Path, password: str) -> dict[str, str]:
    jaas = _jaas(password)
    return {
        "listener.security.protocol.map": "CLIENTS:SASL_SSL,CONTROLLER:PLAINTEXT",
        "sasl.enabled.mechanisms": ",".join(MECHANISMS),
        "sasl.mechanism.inter.broker.protocol": MECHANISMS[0],
        "listener.name.clients.scram-sha-512.sasl.jaas.config": jaas,
        "listener.name.clients.scram-sha-256.sasl.jaas.config": jaas,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(place / "server.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(place / "ca.pem"),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        # The controller's listener is the broker's own and asks nobody who they are.
        "super.users": f"User:{BROKER};User:ANONYMOUS",
    }


async def _make_owner(postgres: EmbeddedPostgres, passwords: Mapping[str, str]) -> None:
    connection = await asyncpg.connect(postgres.database_url)
    try:
        await connection.execute(f"create role \"{OWNER}\" login createrole password '{passwords[OWNER]}'")
        await connection.execute(f'create database parcels owner "{OWNER}"')
    finally:
        await connection.close()


class Service:
    """A running `waybill ingest` or `waybill processor`."""

    def __init__(self, process: forking.Started) -> None:
        self.process = process
        self.log: list[dict[str, Any]] = []
        self._grown = asyncio.Event()

    async def read_log(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.log.append(msgspec.json.decode(line))
            self._grown.set()
        self._grown.set()

    async def said(self, event: str, *words: str) -> dict[str, Any]:
        """Wait for a line of the log: this event, with these words in it."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for entry in self.log:
                    if entry["event"] == event and all(word in str(entry) for word in words):
                        return entry
                assert self.process.returncode is None, self.log
                self._grown.clear()
                await self._grown.wait()


@asynccontextmanager
async def service(name: str, environ: Mapping[str, str]) -> AsyncIterator[Service]:
    """Run a service; it is gone afterwards. Its log is shown when the block fails."""
    process = await forking.start("cli.main", name, environ=environ, stderr=forking.PIPE)
    running = Service(process)
    reading = asyncio.create_task(running.read_log())
    try:
        yield running
    except BaseException:
        print(f"--- {name}", *running.log[-LOG_SHOWN:], sep="\n", file=sys.stderr)
        raise
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def command(*words: str, environ: Mapping[str, str]) -> tuple[int, str]:
    """Run a command of Waybill to its end. Return its exit code and what it said."""
    with tempfile.TemporaryFile("w+") as said:
        process = await forking.start("cli.main", *words, environ=environ, stdout=said, stderr=said)
        try:
            code = await asyncio.wait_for(process.wait(), DEADLINE)
        finally:
            if process.returncode is None:
                process.kill()
        said.seek(0)
        return code, said.read()
