"""A thousand connections push the largest bodies slowly: the real process stays small and goes on."""

import asyncio
import resource
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.integration.test_ingest import waybill_ingest
from tests.unit.ingest.doors import SETTINGS

CONNECTIONS: Final = 1_000
LIMIT: Final = 1_048_576
CHUNK: Final = bytes(16 * 1024)
PAUSE_SECONDS: Final = 0.05
MEMORY_BYTES: Final = 300_000_000
ANSWER_SECONDS: Final = 60.0

HEAD: Final = (
    b"POST /webhooks/dash HTTP/1.1\r\nHost: x\r\nX-Dash-Secret: dash-new\r\nContent-Length: %d\r\n\r\n" % LIMIT
)


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS + 500
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"only {hard} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def push(port: int) -> str:
    """Push a body slowly until it is sent or answered; return the answer's status.

    On the bare socket: what the door has answered is read even where it has closed the connection since.
    """
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        answer = asyncio.create_task(loop.sock_recv(connection, 4096))
        try:
            with suppress(ConnectionError):  # answered, and closed while we wrote
                await loop.sock_sendall(connection, HEAD)
                for _ in range(LIMIT // len(CHUNK)):
                    await loop.sock_sendall(connection, CHUNK)
                    await asyncio.wait((answer,), timeout=PAUSE_SECONDS)
                    if answer.done():
                        break
            async with asyncio.timeout(ANSWER_SECONDS):
                return (await answer).split()[1].decode()
        finally:
            answer.cancel()
            await asyncio.wait((answer,))


async def test_a_thousand_slow_senders_do_not_fill_the_memory(many_files: None, tmp_path: Path) -> None:
    environ = {
        **SETTINGS,
        "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "WAYBILL_INGEST_SPOOL_DIR": str(tmp_path / "spool"),
    }
    async with waybill_ingest(environ) as ingest:
        process = psutil.Process(ingest.process.pid)
        largest = 0
        crowd = asyncio.gather(*(push(ingest.port) for _ in range(CONNECTIONS)))
        meanwhile: Counter[int] = Counter()
        while not crowd.done():
            largest = max(largest, process.memory_info().rss)
            async with asyncio.timeout(ANSWER_SECONDS):
                meanwhile[(await ingest.post())[0]] += 1
            await asyncio.sleep(PAUSE_SECONDS)
        answers = Counter(await crowd)
        assert set(answers) <= {"200", "503"}
        assert answers["200"] > 0
        assert meanwhile[200] > 0
        assert set(meanwhile) <= {200, 503}
        assert (await ingest.post())[0] == 200
        assert largest < MEMORY_BYTES, f"{largest / 1e6:.0f} MB"
        ingest.process.terminate()
        assert await ingest.exit_code() == 0
