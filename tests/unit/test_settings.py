"""Every setting, its default, and what is said about a wrong one."""

from collections.abc import Callable
from datetime import UTC, timedelta
from zoneinfo import ZoneInfo

import pytest

from runtime.errors import SettingsError
from runtime.settings import (
    MAX_BODY_BYTES,
    Settings,
    declared,
    load_settings,
    min_insync_replicas,
    settings_in_force,
    unknown_settings,
)
from runtime.values import MASK, mask_url
from schemas.couriers import COURIERS
from schemas.topics import Topic
from schemas.vocabulary import Source

DIGEST = "sha256:" + "ab" * 32

COURIERS_HERE = {name: COURIERS[name] for name in ("kiriminaja", "dash")}
DEFAULTS = {
    "WAYBILL_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "WAYBILL_KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    "WAYBILL_KAFKA_SASL_MECHANISM": "PLAIN",
    "WAYBILL_KAFKA_SASL_USERNAME": "",
    "WAYBILL_KAFKA_SASL_PASSWORD": "",
    "WAYBILL_KAFKA_SSL_CAFILE": "",
    "WAYBILL_KAFKA_TRANSACTION_TIMEOUT": "15s",
    "WAYBILL_KAFKA_SESSION_TIMEOUT": "10s",
    "WAYBILL_DATABASE_URL": "postgresql://waybill@127.0.0.1:5432/waybill",
    "WAYBILL_TOPIC_PREFIX": "",
    "WAYBILL_TOPIC_PARTITIONS": "12",
    "WAYBILL_TOPIC_REPLICATION_FACTOR": "3",
    "WAYBILL_INGEST_HOST": "127.0.0.1",
    "WAYBILL_INGEST_PORT": "8080",
    "WAYBILL_INGEST_ADMIN_PORT": "9463",
    "WAYBILL_PROCESSOR_ADMIN_PORT": "9464",
    "WAYBILL_ADMIN_HOST": "127.0.0.1",
    "WAYBILL_INGEST_MAX_BODY_BYTES": "1048576",
    "WAYBILL_INGEST_SPOOL_DIR": ".waybill/spool",
    "WAYBILL_INGEST_SPOOL_MAX_BYTES": "1073741824",
    "WAYBILL_INGEST_SPOOL_MAX_AGE": "3d",
    "WAYBILL_INGEST_PUBLISH_TIMEOUT": "2s",
    "WAYBILL_ACCOUNT": "",
    "WAYBILL_KIRIMINAJA_TOKENS": "",
    "WAYBILL_DASH_HEADER_NAME": "X-Dash-Secret",
    "WAYBILL_DASH_SECRETS": "",
    "WAYBILL_PROCESSOR_GROUP_ID": "waybill-processor",
    "WAYBILL_KIRIMINAJA_PUSH_TIMEZONE": "Asia/Jakarta",
    "WAYBILL_KIRIMINAJA_PULL_TIMEZONE": "Asia/Jakarta",
    "WAYBILL_SHIPMENT_MAX_OBSERVATIONS": "5000",
    "WAYBILL_DLQ_MAX_RATIO": "0.5",
    "WAYBILL_OPERATOR": "",
    "WAYBILL_RETENTION": "180d",
    "WAYBILL_RETENTION_UNFINISHED": "365d",
    "WAYBILL_KIRIMINAJA_API_URL": "",
    "WAYBILL_KIRIMINAJA_API_KEY": "",
    "WAYBILL_DASH_API_URL": "",
    "WAYBILL_DASH_CLIENT_KEY": "",
    "WAYBILL_DASH_CLIENT_SECRET": "",
    "WAYBILL_RECONCILE_STALE_AFTER": "6h",
    "WAYBILL_RECONCILE_RATE": "5",
    "WAYBILL_RECONCILE_ADMIN_PORT": "9465",
    "WAYBILL_CONSOLE_HOST": "127.0.0.1",
    "WAYBILL_CONSOLE_PORT": "9466",
    "WAYBILL_CONSOLE_ACCESS": "none",
    "WAYBILL_CONSOLE_TLS": "0",
    "WAYBILL_CONSOLE_WRITES": "0",
    "WAYBILL_CONSOLE_USERS": "",
    "WAYBILL_CONSOLE_SESSION_KEY": "",
    "WAYBILL_CONSOLE_PROXY_PEERS": "",
    "WAYBILL_CONSOLE_PROXY_USER_HEADER": "X-Forwarded-User",
    "WAYBILL_CONSOLE_PROXY_GROUPS_HEADER": "X-Forwarded-Groups",
    "WAYBILL_CONSOLE_VIEWER_GROUPS": "",
    "WAYBILL_CONSOLE_OPERATOR_GROUPS": "",
    "WAYBILL_CONSOLE_PERSONAL_GROUPS": "",
    "WAYBILL_TRACE_RATIO": "0",
    "WAYBILL_LOG_LEVEL": "info",
    "WAYBILL_LOG_FORMAT": "auto",
}


def files(**contents: str) -> Callable[[str], str]:
    def read(path: str) -> str:
        if path not in contents:
            raise FileNotFoundError(2, "No such file or directory")
        return contents[path]

    return read


NO_FILES = files()


def problems(environ: dict[str, str], read_file: Callable[[str], str] = NO_FILES) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load_settings(environ, read_file)
    return caught.value.problems


def test_every_setting_has_its_documented_default() -> None:
    assert {setting.name: setting.value for setting in settings_in_force({}, couriers=COURIERS_HERE)} == DEFAULTS


HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"


def test_the_console_s_users_are_read_from_a_file_line_by_line() -> None:
    lines = f"ani:viewer:{HASH}\n\nbudi:operator+personal:{HASH}\n"
    users = load_settings({"WAYBILL_CONSOLE_USERS_FILE": "users"}, files(users=lines)).console_users
    assert [(user.name, sorted(user.roles)) for user in users] == [
        ("ani", ["viewer"]),
        ("budi", ["operator", "personal"]),
    ]
    shown = {each.name: each.value for each in settings_in_force({"WAYBILL_CONSOLE_USERS_FILE": "u"}, files(u=lines))}
    assert shown["WAYBILL_CONSOLE_USERS"] == "ani:viewer:********,budi:operator+personal:********"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("CONSOLE_USERS", "ani:viewer", "entry 1 must be name:role"),
        ("CONSOLE_USERS", "ani:viewer:plain", "entry 1 must be name:role"),
        ("CONSOLE_USERS", ":viewer:$argon2id$x", "must begin with a name"),
        ("CONSOLE_USERS", "ani:admin:$argon2id$x", "roles of viewer, operator, personal"),
        ("CONSOLE_USERS", "ani:viewer:$argon2id$x,ani:viewer:$argon2id$y", "names somebody twice"),
        ("CONSOLE_TLS", "yes", "must be 0 or 1"),
        ("CONSOLE_PROXY_PEERS", "10.0.0.1/8", "addresses or networks"),
        ("CONSOLE_SESSION_KEY", "short", "at least 32 characters"),
        ("CONSOLE_ACCESS", "anybody", "must be one of none, proxy, file"),
    ],
)
def test_wrong_settings_of_the_console_are_named(name: str, value: str, complaint: str) -> None:
    (problem,) = problems({f"WAYBILL_{name}": value})
    assert complaint in problem
    assert value not in problem or name in {"CONSOLE_PROXY_PEERS", "CONSOLE_USERS"}


def test_every_setting_says_what_it_means() -> None:
    assert all(setting.meaning for setting in declared().values())


def test_defaults_are_read() -> None:
    settings = load_settings({}, couriers=COURIERS_HERE)
    assert settings.kafka_transaction_timeout == timedelta(seconds=15)
    assert settings.ingest_publish_timeout == timedelta(seconds=2)
    assert settings.topic_partitions == 12
    assert settings.account is None
    assert settings.kafka_sasl_username is None
    assert settings.ingest_spool_dir == ".waybill/spool"
    assert settings.couriers_on == ()
    assert settings.credential_headers == {"kiriminaja": "Authorization", "dash": "X-Dash-Secret"}
    assert settings.max_message_bytes == 2 * 1048576 + 65536


def test_the_prefix_stands_before_every_name() -> None:
    settings = load_settings({"WAYBILL_TOPIC_PREFIX": "blue."})
    assert settings.topic(Topic.RAW) == "blue.courier.webhooks.raw"
    assert settings.group_id == "blue.waybill-processor"
    assert settings.transactional_id(7) == "blue.waybill-processor-7"


@pytest.mark.parametrize(("factor", "copies"), [(1, 1), (2, 1), (3, 2), (5, 4)])
def test_one_copy_may_be_away(factor: int, copies: int) -> None:
    assert min_insync_replicas(factor) == copies


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("15s", timedelta(seconds=15)),
        ("2m", timedelta(minutes=2)),
        ("6h", timedelta(hours=6)),
        ("3d", timedelta(days=3)),
        (" 1.5s ", timedelta(seconds=1.5)),
    ],
)
def test_durations(text: str, length: timedelta) -> None:
    assert load_settings({"WAYBILL_INGEST_PUBLISH_TIMEOUT": text}).ingest_publish_timeout == length


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com/v2/", "http://localhost:1/x", "http://127.0.0.1:1", "http://[::1]:1", " https://h "],
)
def test_the_address_of_an_api(url: str) -> None:
    assert load_settings({"WAYBILL_DASH_API_URL": url}).tracking["DASH_API_URL"] == url.strip().rstrip("/")


def test_an_empty_spool_directory_means_no_spool() -> None:
    assert load_settings({"WAYBILL_INGEST_SPOOL_DIR": ""}).ingest_spool_dir is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("INGEST_PUBLISH_TIMEOUT", "2", "must be a duration"),
        ("INGEST_PUBLISH_TIMEOUT", "0s", "longer than nothing"),
        ("INGEST_PUBLISH_TIMEOUT", "9" * 400 + "d", "too long"),
        ("KAFKA_TRANSACTION_TIMEOUT", "16m", "between 1s and 15m"),
        ("KAFKA_SESSION_TIMEOUT", "500ms", "between 1s and 30m"),
        ("KAFKA_SESSION_TIMEOUT", "31m", "between 1s and 30m"),
        ("INGEST_PORT", "http", "whole number from 0 to 65535"),
        ("INGEST_PORT", "65536", "whole number from 0 to 65535"),
        ("INGEST_PORT", "", "whole number from 0 to 65535"),
        ("INGEST_PORT", "٣", "whole number from 0 to 65535"),
        ("TOPIC_PARTITIONS", "0", "whole number from 1"),
        ("INGEST_MAX_BODY_BYTES", str(MAX_BODY_BYTES + 1), f"to {MAX_BODY_BYTES}"),
        ("INGEST_HOST", " ", "must not be empty"),
        ("ACCOUNT", "a:b", "letters, digits, - and _ only"),
        ("TOPIC_PREFIX", "a b", "may have letters"),
        ("TOPIC_PREFIX", "x" * 201, "at most 200"),
        ("PROCESSOR_GROUP_ID", "", "must not be empty"),
        ("LOG_LEVEL", "loud", "must be one of debug, info"),
        ("LOG_FORMAT", "xml", "must be one of auto, json, console"),
        ("KAFKA_SECURITY_PROTOCOL", "TLS", "must be one of PLAINTEXT"),
        ("KAFKA_BOOTSTRAP_SERVERS", "", "at least one host:port"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:1,b", "entry 2 is not one"),
        ("KAFKA_BOOTSTRAP_SERVERS", "a:99999", "entry 1 is not one"),
        ("DASH_HEADER_NAME", "X Dash", "name of an HTTP header"),
        ("DASH_API_URL", "http://api.dashelectric.co", "must begin with https://"),
        ("DASH_API_URL", "http://127.0.0.1.nip.io", "must begin with https://"),
        ("DASH_API_URL", "https://a b", "must look like https://"),
        ("DASH_API_URL", "https://[", "must look like https://"),
        ("DASH_API_URL", "https://h:99999", "must look like https://"),
        ("DASH_API_URL", "api.dashelectric.co", "must look like https://"),
        ("DASH_CLIENT_SECRET", "a\nb", "visible ASCII characters only"),
        ("RECONCILE_RATE", "0", "whole number from 1"),
        ("RECONCILE_STALE_AFTER", "366d", "365d at most"),
        ("DASH_SECRETS", "good,sha256:12", "entry 2 must have 64 hexadecimal digits"),
        ("DASH_SECRETS", "a\x00b", "entry 1 holds a control character"),
        ("KIRIMINAJA_PUSH_TIMEZONE", "Asia/Atlantis", "time zone database"),
        ("KIRIMINAJA_PUSH_TIMEZONE", "Asia", "time zone database"),
        ("KAFKA_SSL_CAFILE", "/nowhere.pem", "cannot be read"),
    ],
)
def test_a_wrong_value_is_one_line(name: str, value: str, says: str) -> None:
    lines = problems({f"WAYBILL_{name}": value})
    assert len(lines) == 1
    assert lines[0].startswith(f"WAYBILL_{name} ")
    assert says in lines[0]
    assert "\n" not in lines[0]


@pytest.mark.parametrize("url", ["", "mysql://a@b/c", "postgresql://", "postgresql://h:99999/d", "postgresql://[h/d"])
def test_a_wrong_database_url_is_one_line_that_shows_nothing_of_it(url: str) -> None:
    (line,) = problems({"WAYBILL_DATABASE_URL": url})
    assert line.startswith("WAYBILL_DATABASE_URL must look like")


def test_all_wrong_values_are_told_at_once() -> None:
    lines = problems({"WAYBILL_INGEST_PORT": "x", "WAYBILL_LOG_LEVEL": "y", "WAYBILL_ACCOUNT": "z:"})
    assert [line.split()[0] for line in lines] == ["WAYBILL_INGEST_PORT", "WAYBILL_ACCOUNT", "WAYBILL_LOG_LEVEL"]


def test_problems_show_no_secret() -> None:
    lines = problems({"WAYBILL_DASH_SECRETS": "hunter2,sha256:hunter3", "WAYBILL_DATABASE_URL": "x://u:hunter4@h"})
    assert not any("hunter" in line for line in lines)


def test_sasl_needs_a_user_and_a_password() -> None:
    lines = problems({"WAYBILL_KAFKA_SECURITY_PROTOCOL": "sasl_ssl"})
    assert [line.split()[0] for line in lines] == ["WAYBILL_KAFKA_SASL_USERNAME", "WAYBILL_KAFKA_SASL_PASSWORD"]


def test_several_secrets_are_accepted_and_digests_are_lower_case() -> None:
    secrets = f"old, new,,{DIGEST.upper().replace('SHA', 'sha')}"
    settings = load_settings({"WAYBILL_DASH_SECRETS": secrets}, couriers=COURIERS_HERE)
    assert settings.secrets == {"kiriminaja": (), "dash": ("old", "new", DIGEST)}
    assert settings.couriers_on == ("dash",)


def test_a_value_is_read_from_a_file() -> None:
    read = files(port="8081\n", tokens="one\r\ntwo,with comma\n\n", password=" spaced \n")
    settings = load_settings(
        {
            "WAYBILL_INGEST_PORT_FILE": "port",
            "WAYBILL_KIRIMINAJA_TOKENS_FILE": "tokens",
            "WAYBILL_KAFKA_SASL_PASSWORD_FILE": "password",
        },
        read,
    )
    assert settings.ingest_port == 8081
    assert settings.secrets["kiriminaja"] == ("one", "two,with comma")
    assert settings.kafka_sasl_password == " spaced "


def test_a_list_of_brokers_is_read_from_a_file() -> None:
    settings = load_settings({"WAYBILL_KAFKA_BOOTSTRAP_SERVERS_FILE": "brokers"}, files(brokers="a:1\nb:2\n"))
    assert settings.kafka_bootstrap_servers == "a:1,b:2"


def test_value_and_file_together_are_wrong() -> None:
    (line,) = problems({"WAYBILL_INGEST_PORT": "1", "WAYBILL_INGEST_PORT_FILE": "port"}, files(port="2"))
    assert line == "WAYBILL_INGEST_PORT is set, and WAYBILL_INGEST_PORT_FILE too: set one of them"


def test_a_file_that_cannot_be_read_is_wrong() -> None:
    (line,) = problems({"WAYBILL_INGEST_PORT_FILE": "nowhere"})
    assert line == (
        "WAYBILL_INGEST_PORT cannot be read from 'nowhere' (WAYBILL_INGEST_PORT_FILE): No such file or directory"
    )


def test_zones() -> None:
    settings = load_settings({"WAYBILL_KIRIMINAJA_PULL_TIMEZONE": "Asia/Makassar"})
    assert settings.assumed_zone("kiriminaja", Source.PUSH) == ZoneInfo("Asia/Jakarta")
    assert settings.assumed_zone("kiriminaja", Source.PULL) == ZoneInfo("Asia/Makassar")
    assert settings.assumed_zone("dash", Source.PUSH) == UTC


def test_unknown_names_are_found_but_not_fatal() -> None:
    environ = {
        "WAYBILL_INGEST_PROT": "1",
        "WAYBILL_INGEST_PORT_FILE": "",
        "WAYBILL_TEST_DATABASE_URL": "x",
        "WAYBILL_DASH_SECRETS": "s",
        "HOME": "/",
    }
    assert unknown_settings(environ) == ("WAYBILL_INGEST_PROT",)
    assert isinstance(load_settings(environ), Settings)


def test_printing_settings_shows_no_secret() -> None:
    environ = {
        "WAYBILL_DATABASE_URL": "postgresql://u:hunter1@h/d",
        "WAYBILL_DASH_SECRETS": "hunter2",
        "WAYBILL_KAFKA_SASL_PASSWORD": "hunter3",
    }
    settings = load_settings(environ)
    shown = {setting.name: setting for setting in settings_in_force(environ)}
    assert "hunter" not in repr(settings) + str(settings) + f"{settings}"
    assert "hunter" not in repr(shown)
    assert shown["WAYBILL_DATABASE_URL"].value == f"postgresql://u:{MASK}@h/d"
    assert shown["WAYBILL_DASH_SECRETS"].value == MASK
    assert shown["WAYBILL_DASH_SECRETS"].origin == "environment"
    assert shown["WAYBILL_INGEST_PORT"].origin == "default"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://u:p%40x@h:5/d?sslmode=require", f"postgresql://u:{MASK}@h:5/d?sslmode=require"),
        ("postgresql://h/d?user=u&password=p", f"postgresql://h/d?user=u&password={MASK}"),
        ("postgresql://u:p@x@h/d", f"postgresql://u:{MASK}@h/d"),
    ],
)
def test_a_password_in_a_url_is_masked(url: str, masked: str) -> None:
    assert mask_url(url) == masked
