"""The real services at log level debug, fed with known secrets and known personal data: where do these turn up?

Searched are both services' stdout and stderr, their metrics and readiness, every answer of the door, the dead letters'
headers and the command lines of all processes that were started. None may hold any.
"""

import asyncio
import os
import signal
import sys
import zlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import IO, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec
import psutil
import pytest

from devstack.ports import free_ports
from schemas.topics import Topic
from tests.integration.system import System, open_system
from tests.poison import MARK, PHONE_PREFIX, marked_samples, spoilt
from tests.waiting import DEADLINE, until

TOKEN: Final = "kj-t0ken-Vx3pQ9"
DASH_SECRET: Final = "dash-s3cret-Ru8wL2"
SASL_PASSWORD: Final = "sasl-p4ss-Jm5zK1"
WRONG_PASSWORD: Final = "wrong-p4ss-Tn6yB7"
PRESENTED: Final = "Gh2kD4"
"""Is part of every wrong secret that somebody shows."""

UNSTORABLE: Final = f"{MARK} unstorable"
"""The database refuses rows with this, and quotes them."""

SECRETS: Final = {
    "WAYBILL_KIRIMINAJA_TOKENS": TOKEN,
    "WAYBILL_DASH_SECRETS": DASH_SECRET,
    "WAYBILL_LOG_LEVEL": "debug",
    "WAYBILL_LOG_FORMAT": "json",
}
HEADERS: Final = {"kiriminaja": {"Authorization": f"Bearer {TOKEN}"}, "dash": {"X-Dash-Secret": DASH_SECRET}}
WRONG: Final[Mapping[str, list[dict[str, str]]]] = {
    "kiriminaja": [
        {"Authorization": f"Bearer {TOKEN[:-1]}{PRESENTED}"},
        {"Authorization": f"Basic {PRESENTED}"},
        {"Authorization": PRESENTED, "Cookie": PRESENTED},
        {},
    ],
    "dash": [{"X-Dash-Secret": f"{DASH_SECRET}{PRESENTED}"}, {"X-Dash-Secret": PRESENTED}, {}],
}


class Service:
    """One running service and everything it has said."""

    def __init__(self, process: asyncio.subprocess.Process, output: IO[bytes], admin_port: int) -> None:
        self.process = process
        self.admin = f"http://127.0.0.1:{admin_port}"
        self._output = output

    @property
    def said(self) -> str:
        """What stands on stdout and stderr."""
        self._output.flush()
        return Path(self._output.name).read_text()

    async def ready(self, client: aiohttp.ClientSession) -> bool:
        assert self.process.returncode is None, self.said
        try:
            async with client.get(f"{self.admin}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientConnectionError:
            return False

    async def shows(self, client: aiohttp.ClientSession) -> str:
        """Return what the admin port tells."""
        shown = ""
        for path in ("/readyz", "/metrics", f"/{MARK}"):
            async with client.get(f"{self.admin}{path}") as answer:
                shown += f"{answer.headers}{await answer.text()}"
        return shown

    async def stop(self) -> None:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE):
                await self.process.wait()


@asynccontextmanager
async def service(name: str, environ: Mapping[str, str], directory: Path) -> AsyncIterator[Service]:
    (admin_port,) = free_ports(1)
    ports = {"WAYBILL_INGEST_ADMIN_PORT": str(admin_port), "WAYBILL_PROCESSOR_ADMIN_PORT": str(admin_port)}
    with (directory / f"{name}-{admin_port}.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "cli.main", name),
            env={"PATH": os.environ["PATH"], **environ, **ports},
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            yield Service(process, output, admin_port)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@pytest.fixture
async def system(kafka_bootstrap_servers: str, database_url: str, topic_prefix: str, tmp_path: Path) -> System:
    system = await open_system(kafka_bootstrap_servers, database_url, topic_prefix)
    (port,) = free_ports(1)
    system.environ |= SECRETS | {
        "WAYBILL_INGEST_PORT": str(port),
        "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"),
        "WAYBILL_INGEST_MAX_BODY_BYTES": "262144",
        "WAYBILL_DLQ_MAX_RATIO": "1",
    }
    return system


def password_of(system: System) -> str:
    password = urlsplit(system.settings.database_url).password
    assert password, "the stack's database has a password"
    return password


def secrets_of(system: System) -> tuple[str, ...]:
    return (TOKEN, DASH_SECRET, SASL_PASSWORD, WRONG_PASSWORD, PRESENTED, password_of(system))


def assert_clean(text: str, secrets: tuple[str, ...]) -> None:
    """Fail with the line that holds what it must not."""
    for found in (MARK, PHONE_PREFIX, *secrets):
        holding = [line for line in text.splitlines() if found in line]
        assert not holding, f"{found!r} in: {holding[0][:2000]}"


def assert_clean_command_lines(secrets: tuple[str, ...]) -> None:
    """Look at the services, and at the broker and the database server that this run started."""
    lines = []
    for process in psutil.Process().children(recursive=True):
        try:
            lines.append(" ".join(process.cmdline()))
        except psutil.NoSuchProcess:
            continue
    assert any("cli.main ingest" in line for line in lines)
    assert_clean("\n".join(lines), secrets)


def bodies() -> Iterator[tuple[str, bytes]]:
    for sample in marked_samples():
        yield sample.courier, sample.body
        for body in spoilt(sample):
            yield sample.courier, body
    unstorable = {"deliveryID": "DE-unstorable", "status": "FAILED", "failedReason": UNSTORABLE}
    yield "dash", msgspec.json.encode({**unstorable, "courier": {"name": f"{MARK} of two\n lines {MARK}"}})


async def ask(client: aiohttp.ClientSession, url: str, headers: Mapping[str, str], body: bytes) -> str:
    async with client.post(url, data=body, headers=headers) as answer:
        return f"{answer.status} {answer.headers} {await answer.text()}"


async def raw_ask(port: int, request: bytes) -> str:
    """Send bytes that need not be HTTP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        writer.write_eof()
        async with asyncio.timeout(DEADLINE):
            return (await reader.read()).decode(errors="replace")
    except ConnectionError:
        return ""
    finally:
        writer.close()


async def attack(client: aiohttp.ClientSession, port: int) -> list[str]:
    """Send everything that goes wrong at the door. Return the answers."""
    door = f"http://127.0.0.1:{port}"
    mark = MARK.encode()
    answers = [await ask(client, f"{door}/webhooks/{MARK}?q={MARK}", {}, mark)]
    for courier, wrong in WRONG.items():
        url = f"{door}/webhooks/{courier}"
        answers += [await ask(client, f"{url}?name={MARK}", headers, mark) for headers in wrong]
        right = HEADERS[courier]
        gzipped = zlib.compress(mark * 100)
        for more, body in (
            ({"Content-Encoding": "gzip"}, mark),
            ({"Content-Encoding": "deflate"}, gzipped[:-3]),
            ({"Content-Encoding": MARK}, mark),
            ({}, b""),
            ({}, mark * 60_000),
        ):
            answers.append(await ask(client, url, right | more, body))
        async with client.request(MARK, url, headers=right) as answer:
            answers.append(await answer.text())
    head = b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: " + DASH_SECRET.encode() + b"\r\n"
    for request in (
        mark + b"\r\n\r\n",
        b"GET /" + mark + b" HTTP/9.9\r\n\r\n",
        head + b"Bad Header " + mark + b"\r\n\r\n",
        head + b"Content-Length: " + mark + b"\r\n\r\n" + mark,
        head + b"Transfer-Encoding: chunked\r\n\r\n" + mark,
        head + b"X: " + mark * 10_000 + b"\r\n\r\n",
        head + b"Content-Length: 900\r\n\r\n" + mark,
    ):
        answers.append(await raw_ask(port, request))
    return answers


async def test_the_services_tell_nothing_of_what_passes_through(system: System, tmp_path: Path) -> None:
    await system.execute(f"alter table shipments add check (reason is null or reason not like '%{UNSTORABLE}%')")
    secrets = secrets_of(system)
    port = int(system.environ["WAYBILL_INGEST_PORT"])
    async with AsyncExitStack() as opened:
        client = await opened.enter_async_context(aiohttp.ClientSession())
        services = [
            await opened.enter_async_context(service(name, system.environ, tmp_path))
            for name in ("ingest", "processor")
        ]
        for each in services:
            await until(lambda each=each: each.ready(client))  # type: ignore[misc]
        answers = []
        for courier, body in bodies():
            headers = HEADERS[courier] | {"Content-Type": f"application/json; name={MARK}", "User-Agent": MARK}
            answers.append(await ask(client, f"http://127.0.0.1:{port}/webhooks/{courier}", headers, body))
            assert answers[-1].startswith("200 ")
        answers += await attack(client, port)
        await until(system.caught_up)
        shown = [await each.shows(client) for each in services]
        assert_clean_command_lines(secrets)
        for each in services:
            await each.stop()
        said = [each.said for each in services]
    assert_clean("\n".join([*answers, *shown, *said]), secrets)
    # The search has teeth: what is searched for went all the way.
    assert len(await system.rows(f"select 1 from shipments where personal::text like '%{MARK}%'")) > 1
    reasons = set()
    for letter in await system.read(Topic.DEAD_LETTERS):
        headers = {name: value.decode() for name, value in letter.headers if name != "content-type"}
        assert_clean(str(headers), secrets)
        reasons.add(headers["dlq-reason"])
    assert {"invalid_json", "unknown_shape", "no_shipment", "too_deep", "unstorable"} <= reasons
    assert "a record cannot be stored" in said[1]


async def test_stores_that_refuse_or_are_away_are_told_without_secrets(system: System, tmp_path: Path) -> None:
    secrets = secrets_of(system)
    (nowhere,) = free_ports(1)
    right = system.environ["WAYBILL_DATABASE_URL"]
    address = urlsplit(right)
    wrong = address._replace(netloc=f"{address.username}:{WRONG_PASSWORD}@{address.hostname}:{address.port}").geturl()
    sasl = {
        "WAYBILL_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "WAYBILL_KAFKA_SASL_MECHANISM": "SCRAM-SHA-256",
        "WAYBILL_KAFKA_SASL_USERNAME": "waybill",
        "WAYBILL_KAFKA_SASL_PASSWORD": SASL_PASSWORD,
    }
    away = {"WAYBILL_KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{nowhere}"}
    cases = [
        ("ingest", sasl, "kafka not reachable"),
        ("ingest", sasl | away, "kafka not reachable"),
        ("processor", sasl, "waiting"),
        ("processor", sasl | away, "waiting"),
        ("processor", {"WAYBILL_DATABASE_URL": wrong}, "waiting"),
        ("processor", {"WAYBILL_DATABASE_URL": right.replace(f":{address.port}/", f":{nowhere}/")}, "waiting"),
        ("processor", {"WAYBILL_DATABASE_URL": f"{right}?sslmode=require"}, "waiting"),
    ]
    async with AsyncExitStack() as opened:
        client = await opened.enter_async_context(aiohttp.ClientSession())
        answers: list[str] = []
        running = []
        for number, (name, changes, event) in enumerate(cases):
            (port,) = free_ports(1)
            own = {"WAYBILL_INGEST_PORT": str(port), "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / f"spool-{number}")}
            each = await opened.enter_async_context(service(name, system.environ | own | changes, tmp_path))
            running.append((each, event))
            if name == "ingest":
                await until(lambda each=each: each.ready(client))  # type: ignore[misc]  # the spool takes records
                sample = marked_samples()[0]
                url = f"http://127.0.0.1:{port}/webhooks/{sample.courier}"
                answers.append(await ask(client, url, HEADERS[sample.courier], sample.body))

        async def all_have_said_it() -> bool:
            return all(event in each.said for each, event in running)

        await until(all_have_said_it)
        answers += [await each.shows(client) for each, _ in running]
        assert_clean_command_lines(secrets)
        for each, _ in running:
            await each.stop()
        assert_clean("\n".join([*answers, *(each.said for each, _ in running)]), secrets)
        # The database's own password is there to be found, in the environment of the process alone.
        assert password_of(system) in right
