"""Every setting, declared once: its field below names it, `ingest_port` being `WAYBILL_INGEST_PORT`.

`NAME_FILE` reads the value from a file instead, a list one entry per line. What a courier needs is declared in its
folder and found here under `tracking` (how its API is asked), `secrets`, `credential_headers` and `zones`. The file is
longer than others because it is the one list.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, timedelta, tzinfo
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import msgspec

from runtime import values
from runtime.errors import SettingsError
from schemas.couriers import COURIERS, Courier
from schemas.observation import KEPT_OBSERVATIONS
from schemas.topics import Topic
from schemas.vocabulary import Source

PREFIX: Final = "WAYBILL_"

MESSAGE_OVERHEAD_BYTES: Final = 64 * 1024
"""Room for key, headers and framing beside a record's value."""

LEAST_MESSAGE_BYTES: Final = 1024 * 1024
"""What a message may be large however small bodies are: the largest event fits, and so does a batch."""

MAX_BODY_BYTES: Final = (100 * 1024 * 1024 - MESSAGE_OVERHEAD_BYTES) // 2
"""The largest body limit: a broker takes requests of 100 MiB (`socket.request.max.bytes`), and a
record may be twice the body and its overhead."""


DLQ_WINDOW_WEBHOOKS: Final = 1_000
"""Over how many of a courier's newest webhooks in a partition the dead letters' share is judged: enough that a bad hour
or a handful of garbage does not count as a flood, few enough that a bad deploy spoils little."""


class Setting(msgspec.Struct, frozen=True):
    """How one setting is written: default, meaning, how its text is read.

    A list (`many`) is comma-separated and is parsed from a tuple of its entries. `mask` gives what of it may
    be shown.
    """

    default: str
    meaning: str
    parse: Callable[[Any], Any] = values.text
    many: bool = False
    mask: Callable[[str], str] | None = None


class OfCouriers(msgspec.Struct, frozen=True):
    """Settings that each courier's folder declares. They stand where the field is that holds their values."""

    declare: Callable[[Courier], Iterator[tuple[str, Setting]]]


def _of_tracking(courier: Courier) -> Iterator[tuple[str, Setting]]:
    """Declare where a courier is asked, and with which secrets."""
    if courier.tracking is None:
        return
    address = courier.tracking.address
    yield address.name, Setting("", address.meaning, values.api_url)
    for secret in courier.tracking.secrets:
        yield secret.name, Setting("", secret.meaning, values.api_secret, mask=values.hide)


def _of_door(courier: Courier) -> Iterator[tuple[str, Setting]]:
    """Declare how a courier shows its secret, and the zones of its times."""
    credentials = courier.credentials
    shown_as = f"{credentials.scheme} …" if credentials.scheme else "its header"
    if credentials.header_setting:
        yield (
            credentials.header_setting,
            Setting(credentials.header, f"the header {courier.name} shows its secret in", values.header_name),
        )
    yield (
        credentials.secrets_setting,
        Setting(
            "",
            f"what {courier.name} may show as {shown_as}, or its sha256:<hex>; none: the courier is off",
            values.secrets,
            many=True,
            mask=values.hide,
        ),
    )
    for source, (name, default) in courier.zone_settings.items():
        yield (
            name,
            Setting(default, f"zone of {courier.name}'s times without one, source {source}", values.zone),
        )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force. Made by `load_settings`; never shows a secret when printed."""

    kafka_bootstrap_servers: Annotated[
        str, Setting("127.0.0.1:9092", "the brokers to ask first, host:port", values.addresses, many=True)
    ]
    kafka_security_protocol: Annotated[
        str,
        Setting(
            "PLAINTEXT",
            "how to talk to the brokers: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL",
            values.one_of("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL", upper=True),
        ),
    ]
    kafka_sasl_mechanism: Annotated[
        str,
        Setting(
            "PLAIN",
            "how to log in to the brokers: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512",
            values.one_of("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", upper=True),
        ),
    ]
    kafka_sasl_username: Annotated[str | None, Setting("", "the user at the brokers", values.text_or_none)]
    kafka_sasl_password: Annotated[
        str | None, Setting("", "that user's password", values.password_or_none, mask=values.hide)
    ]
    kafka_ssl_cafile: Annotated[
        str | None,
        Setting("", "PEM file of the authorities to trust; empty: the system's", values.text_or_none),
    ]
    kafka_transaction_timeout: Annotated[
        timedelta,
        Setting("15s", "bounds how long a crash holds subscribers back", values.transaction_timeout),
    ]
    kafka_session_timeout: Annotated[
        timedelta,
        Setting(
            "10s",
            "how long a killed processor keeps its partitions; brokers refuse less than 6s unless told otherwise",
            values.session_timeout,
        ),
    ]
    database_url: Annotated[
        str,
        Setting(
            "postgresql://waybill@127.0.0.1:5432/waybill",
            "the PostgreSQL database",
            values.database_url,
            mask=values.mask_url,
        ),
    ]
    topic_prefix: Annotated[
        str,
        Setting("", "put before every topic name, consumer group and transactional id", values.topic_prefix),
    ]
    topic_partitions: Annotated[
        int,
        Setting("12", "partitions of each topic; fixed for a topic's life", values.whole(1, 10_000)),
    ]
    topic_replication_factor: Annotated[
        int,
        Setting("3", "copies of each partition; min.insync.replicas is one less, at least 1", values.whole(1, 100)),
    ]
    ingest_host: Annotated[str, Setting("127.0.0.1", "where the public door listens")]
    ingest_port: Annotated[
        int,
        Setting("8080", "the public door: webhooks and /healthz; 0 takes a free one", values.whole(0, 65535)),
    ]
    ingest_admin_port: Annotated[
        int,
        Setting("9463", "/healthz, /readyz and /metrics of ingest; 0 takes a free one", values.whole(0, 65535)),
    ]
    processor_admin_port: Annotated[
        int,
        Setting(
            "9464",
            "/healthz, /readyz and /metrics of the processor; 0 takes a free one",
            values.whole(0, 65535),
        ),
    ]
    admin_host: Annotated[str, Setting("127.0.0.1", "where the admin ports listen")]
    ingest_max_body_bytes: Annotated[
        int, Setting("1048576", "the largest body, after decompression", values.whole(1, MAX_BODY_BYTES))
    ]
    ingest_spool_dir: Annotated[
        str | None,
        Setting(".waybill/spool", "keeps webhooks while Kafka is away; empty: no spool", values.text_or_none),
    ]
    ingest_spool_max_bytes: Annotated[
        int,
        Setting(
            "1073741824",
            "how much the spool may hold; then 503. A gibibyte: some hours of a busy shop's webhooks",
            values.whole(1, 999_999_999_999),
        ),
    ]
    ingest_spool_max_age: Annotated[
        timedelta,
        Setting(
            "3d",
            "how long a webhook may wait in the spool; then 503. A long weekend, far below Kafka's 30 d",
            values.duration,
        ),
    ]
    ingest_publish_timeout: Annotated[
        timedelta,
        Setting("2s", "how long a webhook waits for Kafka; then the spool, or 503", values.duration),
    ]
    account: Annotated[
        str | None,
        Setting("", "the merchant account this door serves; part of the shipment_id", values.account),
    ]
    processor_group_id: Annotated[
        str, Setting("waybill-processor", "the consumer group that shares the partitions", values.group)
    ]
    shipment_max_observations: Annotated[
        int,
        Setting(
            str(KEPT_OBSERVATIONS),
            "kept of one shipment; beyond it an observation is an anomaly `history_limit`, and changes nothing",
            values.whole(1, 100_000),
        ),
    ]
    dlq_max_ratio: Annotated[
        float,
        Setting(
            "0.5",
            f"holds a courier back when more of its newest {DLQ_WINDOW_WEBHOOKS} webhooks give nothing; 1: never",
            values.ratio,
        ),
    ]
    operator: Annotated[
        str | None,
        Setting("", "who runs an operator's command, for the log; empty: the system's user", values.text_or_none),
    ]
    retention: Annotated[
        timedelta,
        Setting("180d", "how long the history of a final, silent shipment is kept", values.duration),
    ]
    retention_unfinished: Annotated[
        timedelta,
        Setting("365d", "how long the history of a silent shipment is kept that never became final", values.duration),
    ]
    tracking: Annotated[Mapping[str, str | None], OfCouriers(_of_tracking)]
    """By the setting's name without `WAYBILL_`: what couriers' APIs are asked with. None: not set."""
    reconcile_stale_after: Annotated[
        timedelta,
        Setting("6h", "how long a shipment is silent before its courier is asked", values.silence),
    ]
    reconcile_rate: Annotated[
        int, Setting("5", "how often a courier is asked in any second, at most", values.whole(1, 1_000))
    ]
    reconcile_admin_port: Annotated[
        int,
        Setting("9465", "/healthz, /readyz and /metrics of reconcile; 0 takes a free one", values.whole(0, 65535)),
    ]
    console_host: Annotated[str, Setting("127.0.0.1", "where the operators' console listens")]
    console_port: Annotated[
        int,
        Setting(
            "9466", "the console, with its /healthz, /readyz and /metrics; 0 takes a free one", values.whole(0, 65535)
        ),
    ]
    console_access: Annotated[
        str,
        Setting(
            "none",
            "who may look: none (whoever is on this machine), proxy (whom a proxy names), file (whom the file lists)",
            values.one_of("none", "proxy", "file"),
        ),
    ]
    console_tls: Annotated[
        bool, Setting("0", "1: the console is reached over TLS only, which a proxy before it ends", values.flag)
    ]
    console_writes: Annotated[
        bool, Setting("0", "1: the console also acts, for those with the role operator; 0: it only looks", values.flag)
    ]
    console_users: Annotated[
        tuple[values.ConsoleUser, ...],
        Setting(
            "",
            "of access file: a line for each, as `waybill console user` prints it; WAYBILL_CONSOLE_USERS_FILE names it",
            values.console_users,
            many=True,
            mask=values.mask_console_user,
        ),
    ]
    console_users_file: str | None = None
    """Where they stand, if in a file: it is read again when it has changed."""
    console_session_key: Annotated[
        str | None,
        Setting("", "signs sessions of access file; empty: one is made at start", values.session_key, mask=values.hide),
    ]
    console_proxy_peers: Annotated[
        tuple[values.Network, ...],
        Setting("", "of access proxy: addresses or networks whose headers are believed", values.networks, many=True),
    ]
    console_proxy_user_header: Annotated[
        str, Setting("X-Forwarded-User", "of access proxy: the header that names who looks", values.header_name)
    ]
    console_proxy_groups_header: Annotated[
        str,
        Setting("X-Forwarded-Groups", "of access proxy: the header that lists their groups", values.header_name),
    ]
    console_viewer_groups: Annotated[
        tuple[str, ...], Setting("", "of access proxy: groups that may look", values.names, many=True)
    ]
    console_operator_groups: Annotated[
        tuple[str, ...], Setting("", "of access proxy: groups that may act", values.names, many=True)
    ]
    console_personal_groups: Annotated[
        tuple[str, ...], Setting("", "of access proxy: groups that see personal data", values.names, many=True)
    ]
    trace_ratio: Annotated[
        float,
        Setting("0", "share of webhooks that are traced, 0 to 1; above 0 needs the extra `otel`", values.ratio),
    ]
    log_level: Annotated[
        str,
        Setting(
            "info",
            "debug, info, warning or error",
            values.one_of("debug", "info", "warning", "error", "critical"),
        ),
    ]
    log_format: Annotated[
        str,
        Setting(
            "auto",
            "json, console, or auto: console on a terminal, else json",
            values.one_of("auto", "json", "console"),
        ),
    ]
    secrets: Annotated[Mapping[str, tuple[str, ...]], OfCouriers(_of_door)]
    """By courier: what it may show, as text or as `sha256:<hex>`. A courier with none is off."""
    credential_headers: Mapping[str, str]
    """By courier: the header its secret stands in."""
    zones: Mapping[tuple[str, Source], tzinfo]
    """By courier and source: the zone of times without one. See `assumed_zone`."""

    @property
    def couriers_on(self) -> tuple[str, ...]:
        """The couriers that have a secret."""
        return tuple(courier for courier, entries in self.secrets.items() if entries)

    @property
    def group_id(self) -> str:
        """The processor's consumer group, as Kafka knows it."""
        return f"{self.topic_prefix}{self.processor_group_id}"

    @property
    def max_message_bytes(self) -> int:
        """The largest message of any topic: a body's item may be wrapped, and headers come on top."""
        return max(2 * self.ingest_max_body_bytes + MESSAGE_OVERHEAD_BYTES, LEAST_MESSAGE_BYTES)

    def topic(self, topic: Topic) -> str:
        """Return a topic's name, as Kafka knows it."""
        return f"{self.topic_prefix}{topic}"

    def transactional_id(self, partition: int) -> str:
        """Return the transactional id of a partition's worker: it fences a zombie of the same partition."""
        return f"{self.group_id}-{partition}"

    def assumed_zone(self, courier: str, source: Source) -> tzinfo:
        """Return the zone of a courier's times without one."""
        return self.zones.get((courier, source), UTC)

    def __repr__(self) -> str:
        """Show nothing that may be secret."""
        return f"Settings({PREFIX}TOPIC_PREFIX={self.topic_prefix!r}, …)"


class SettingInForce(msgspec.Struct, frozen=True):
    """One setting as `waybill config` shows it: secrets masked, `origin` default, environment or file."""

    name: str
    value: str
    origin: str
    meaning: str


def min_insync_replicas(replication_factor: int) -> int:
    """Return how many copies must hold a record before it counts as durable: one may be away."""
    return max(1, replication_factor - 1)


def read_text(path: str) -> str:
    """Read a text file in UTF-8."""
    return Path(path).read_text(encoding="utf-8")


def load_settings(
    environ: Mapping[str, str],
    read_file: Callable[[str], str] = read_text,
    couriers: Mapping[str, Courier] = COURIERS,
) -> Settings:
    """Read the settings from an environment.

    Raises:
        SettingsError: with a line for each value that is wrong.

    """
    problems: list[str] = []
    found: dict[str, Any] = {}
    for name, setting in declared(couriers).items():
        try:
            found[name] = setting.parse(_raw(name, setting, environ, read_file)[1])
        except ValueError as error:
            problems.append(f"{PREFIX}{name} {error}")
    problems += _contradictions(found, read_file)
    if problems:
        raise SettingsError(tuple(problems))
    return Settings(
        **{field: found[field.upper()] for field, setting in _OWN.items() if isinstance(setting, Setting)},
        console_users_file=environ.get(f"{PREFIX}CONSOLE_USERS_FILE") or None,
        tracking={name: found[name] for courier in couriers.values() for name, _ in _of_tracking(courier)},
        secrets={name: found[courier.credentials.secrets_setting] for name, courier in couriers.items()},
        credential_headers={
            name: found[courier.credentials.header_setting]
            if courier.credentials.header_setting
            else courier.credentials.header
            for name, courier in couriers.items()
        },
        zones={
            (name, source): found[zone_setting]
            for name, courier in couriers.items()
            for source, (zone_setting, _) in courier.zone_settings.items()
        },
    )


def read_console_users(path: str, read_file: Callable[[str], str] = read_text) -> tuple[values.ConsoleUser, ...]:
    """Read the users of a file again.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no list of users.

    """
    return values.console_users(_entries(read_file(path).splitlines()))


def settings_in_force(
    environ: Mapping[str, str],
    read_file: Callable[[str], str] = read_text,
    couriers: Mapping[str, Courier] = COURIERS,
) -> tuple[SettingInForce, ...]:
    """List every setting with its value, for settings that `load_settings` accepts."""
    return tuple(_in_force(name, setting, environ, read_file) for name, setting in declared(couriers).items())


def unknown_settings(environ: Mapping[str, str], couriers: Mapping[str, Courier] = COURIERS) -> tuple[str, ...]:
    """Name the variables that look like settings and are none: a misspelt one, or one of another version.

    `WAYBILL_TEST_…` belongs to the tests.
    """
    known = {f"{PREFIX}{name}{suffix}" for name in declared(couriers) for suffix in ("", "_FILE")}
    return tuple(
        sorted(
            name
            for name in environ
            if name.startswith(PREFIX) and not name.startswith(f"{PREFIX}TEST_") and name not in known
        )
    )


def secrets_settings(couriers: Mapping[str, Courier] = COURIERS) -> tuple[str, ...]:
    """Name the settings that turn a courier on."""
    return tuple(f"{PREFIX}{courier.credentials.secrets_setting}" for courier in couriers.values())


def declared(couriers: Mapping[str, Courier] = COURIERS) -> dict[str, Setting]:
    """Return every setting, the couriers' included, by its name without `WAYBILL_`."""
    settings: dict[str, Setting] = {}
    for field, setting in _OWN.items():
        if isinstance(setting, Setting):
            settings[field.upper()] = setting
        else:
            for courier in couriers.values():
                settings |= setting.declare(courier)
    return settings


def _raw(
    name: str, setting: Setting, environ: Mapping[str, str], read_file: Callable[[str], str]
) -> tuple[str, str | tuple[str, ...]]:
    """Find a setting's text, or a list's entries, and where it comes from."""
    text, path = environ.get(f"{PREFIX}{name}"), environ.get(f"{PREFIX}{name}_FILE")
    if text is not None and path:
        raise ValueError(f"is set, and {PREFIX}{name}_FILE too: set one of them")
    if path:
        try:
            content = read_file(path)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            raise ValueError(f"cannot be read from {path!r} ({PREFIX}{name}_FILE): {reason}") from error
        entries = content.splitlines()
        return "file", _entries(entries) if setting.many else content.rstrip("\r\n")
    origin = "default" if text is None else "environment"
    used = setting.default if text is None else text
    return origin, _entries(used.split(",")) if setting.many else used


def _entries(texts: list[str]) -> tuple[str, ...]:
    return tuple(stripped for text in texts if (stripped := text.strip()))


def _in_force(
    name: str, setting: Setting, environ: Mapping[str, str], read_file: Callable[[str], str]
) -> SettingInForce:
    origin, raw = _raw(name, setting, environ, read_file)
    mask = setting.mask or str.strip
    shown = mask(raw) if isinstance(raw, str) else ",".join(mask(entry) for entry in raw)
    return SettingInForce(f"{PREFIX}{name}", shown, origin, setting.meaning)


def _contradictions(found: Mapping[str, Any], read_file: Callable[[str], str]) -> Iterator[str]:
    if str(found.get("KAFKA_SECURITY_PROTOCOL")).startswith("SASL_"):
        for name in ("KAFKA_SASL_USERNAME", "KAFKA_SASL_PASSWORD"):
            if name in found and found[name] is None:
                yield f"{PREFIX}{name} must be set where {PREFIX}KAFKA_SECURITY_PROTOCOL asks for SASL"
    if cafile := found.get("KAFKA_SSL_CAFILE"):
        try:
            read_file(cafile)
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not a text file"
            yield f"{PREFIX}KAFKA_SSL_CAFILE cannot be read from {cafile!r}: {reason}"


def _own() -> dict[str, Setting | OfCouriers]:
    hints = get_type_hints(Settings, include_extras=True)
    return {
        field: extra
        for field, hint in hints.items()
        for extra in getattr(hint, "__metadata__", ())
        if isinstance(extra, Setting | OfCouriers)
    }


_OWN: Final = _own()
