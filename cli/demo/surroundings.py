"""What `waybill up` sets for its services: addresses, ports, random secrets. What the user set stays."""

import secrets
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from cli.door import door_url, plain_secret, posting_headers, reachable
from runtime.errors import SetupError
from runtime.settings import PREFIX, Settings, load_settings
from schemas.couriers import COURIERS

DEFAULTS: Final = {"TOPIC_PARTITIONS": "4", "TOPIC_REPLICATION_FACTOR": "1"}
"""One broker, and partitions enough to see that shipments share them."""

PORTS: Final = ("INGEST_PORT", "INGEST_ADMIN_PORT", "PROCESSOR_ADMIN_PORT", "CONSOLE_PORT")

HIDDEN: Final = "YOUR-SECRET"


class Surroundings(msgspec.Struct, frozen=True):
    """The services' environment and settings; `notes` says what differs from the usual.

    `secrets` holds by courier the secret to post with, `made` the couriers whose secret is of this run. `own` is what a
    command in another terminal has to be told, since the user has not set it.
    """

    environ: Mapping[str, str]
    settings: Settings
    secrets: Mapping[str, str]
    made: frozenset[str]
    notes: tuple[str, ...]
    own: Mapping[str, str]

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Surroundings({self.settings!r}, …)"

    @property
    def door(self) -> str:
        """The door's URL."""
        return door_url(self.settings)

    @property
    def console(self) -> str:
        """The console's URL."""
        return f"http://{reachable(self.settings.console_host)}:{self.settings.console_port}"

    @property
    def admins(self) -> dict[str, str]:
        """The URLs of the admin ports by service, in the order the services start. The console has but one port."""
        host = f"http://{reachable(self.settings.admin_host)}"
        return {
            "console": self.console,
            "processor": f"{host}:{self.settings.processor_admin_port}",
            "ingest": f"{host}:{self.settings.ingest_admin_port}",
        }

    def headers(self, courier: str) -> dict[str, str]:
        """Return the headers a courier posts with."""
        return posting_headers(self.settings, courier, self.secrets[courier])

    def shown_headers(self, courier: str) -> dict[str, str]:
        """Return the same headers for a person to read: a secret that is the user's own is not shown."""
        return posting_headers(self.settings, courier, self.secrets[courier] if courier in self.made else HIDDEN)


def addresses(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the services' addresses in the open, where files name them.

    Raises:
        SettingsError: with a line for each wrong value.

    """
    settings = load_settings(environ)
    found = dict(environ)
    for name, value in (
        ("KAFKA_BOOTSTRAP_SERVERS", settings.kafka_bootstrap_servers),
        ("DATABASE_URL", settings.database_url),
    ):
        if _is_set(environ, name):
            _set(found, name, value)
    return found


def surroundings(
    environ: Mapping[str, str],
    *,
    kafka_bootstrap_servers: str,
    database_url: str,
    is_free: Callable[[int], bool],
    free_port: Callable[[], int],
) -> Surroundings:
    """Complete the user's environment.

    Raises:
        SettingsError: with a line for each wrong value.
        SetupError: a port that the user chose is taken, or a courier's secrets are all digests.

    """
    complete = dict(environ)
    _set(complete, "KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap_servers)
    _set(complete, "DATABASE_URL", database_url)
    for name, value in DEFAULTS.items():
        if not _is_set(environ, name):
            _set(complete, name, value)
    settings = load_settings(complete)
    notes = [note for name in PORTS if (note := _port(complete, name, settings, is_free, free_port))]
    usable = {}
    made = set()
    for courier, entries in settings.secrets.items():
        setting = COURIERS[courier].credentials.secrets_setting
        if entries:
            usable[courier] = _plain(entries, setting)
        else:
            usable[courier] = secrets.token_urlsafe(18)
            made.add(courier)
            _set(complete, setting, usable[courier])
    told = [name for name in ("KAFKA_BOOTSTRAP_SERVERS", "DATABASE_URL", *DEFAULTS) if not _is_set(environ, name)]
    told += sorted(COURIERS[courier].credentials.secrets_setting for courier in made)
    found = load_settings(complete)
    told += ["INGEST_PORT"] if found.ingest_port != settings.ingest_port else []
    own = {f"{PREFIX}{name}": complete[f"{PREFIX}{name}"] for name in told}
    return Surroundings(complete, found, usable, frozenset(made), tuple(notes), own)


def _port(
    environ: dict[str, str],
    name: str,
    settings: Settings,
    is_free: Callable[[int], bool],
    free_port: Callable[[], int],
) -> str | None:
    wanted: int = getattr(settings, name.lower())
    if wanted and is_free(wanted):
        return None
    if wanted and _is_set(environ, name):
        raise SetupError(f"{PREFIX}{name} is {wanted}, and that port is taken: choose another, or leave it out")
    chosen = free_port()
    _set(environ, name, str(chosen))
    return f"port {wanted} is taken: {PREFIX}{name} is {chosen}" if wanted else None


def _plain(entries: tuple[str, ...], setting: str) -> str:
    if (secret := plain_secret(entries)) is not None:
        return secret
    raise SetupError(f"{PREFIX}{setting} holds digests only: to play the deliveries, add a secret as text")


def _is_set(environ: Mapping[str, str], name: str) -> bool:
    return f"{PREFIX}{name}" in environ or bool(environ.get(f"{PREFIX}{name}_FILE"))


def _set(environ: dict[str, str], name: str, value: str) -> None:
    environ[f"{PREFIX}{name}"] = value
    environ.pop(f"{PREFIX}{name}_FILE", None)
