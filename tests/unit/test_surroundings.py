"""What `waybill up` sets, and what of the user's it leaves alone."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from cli.demo.surroundings import Surroundings, addresses, surroundings
from runtime.errors import SettingsError, SetupError
from schemas.couriers import COURIERS

FREE = 20001


def made(environ: Mapping[str, str] | None = None, taken: frozenset[int] = frozenset()) -> Surroundings:
    return surroundings(
        environ or {},
        kafka_bootstrap_servers="127.0.0.1:19092",
        database_url="postgresql://waybill@127.0.0.1:15432/waybill",
        is_free=lambda port: port not in taken,
        free_port=lambda: FREE,
    )


def test_the_services_are_told_where_kafka_and_postgres_are() -> None:
    settings = made({"PATH": "/bin", "WAYBILL_DATABASE_URL": "postgresql://elsewhere/old"}).settings
    assert settings.kafka_bootstrap_servers == "127.0.0.1:19092"
    assert settings.database_url == "postgresql://waybill@127.0.0.1:15432/waybill"
    assert made({"PATH": "/bin"}).environ["PATH"] == "/bin"


def test_topics_have_4_partitions_and_1_copy_unless_the_user_says_otherwise() -> None:
    settings = made().settings
    assert (settings.topic_partitions, settings.topic_replication_factor) == (4, 1)
    settings = made({"WAYBILL_TOPIC_PARTITIONS": "6"}).settings
    assert (settings.topic_partitions, settings.topic_replication_factor) == (6, 1)


def test_every_run_has_random_secrets_of_its_own() -> None:
    one, other = made(), made()
    assert one.made == set(COURIERS)
    for courier in one.made:
        assert len(one.secrets[courier]) >= 20
        assert one.secrets[courier] != other.secrets[courier]
        assert one.settings.secrets[courier] == (one.secrets[courier],)
    assert one.headers("dash")["X-Dash-Secret"] == one.secrets["dash"]
    assert one.headers("kiriminaja")["Authorization"] == f"Bearer {one.secrets['kiriminaja']}"


def test_the_users_secret_is_used_and_not_called_made() -> None:
    around = made({"WAYBILL_DASH_SECRETS": f"sha256:{'0' * 64},open-sesame", "WAYBILL_DASH_HEADER_NAME": "X-Mine"})
    assert around.secrets["dash"] == "open-sesame"
    assert around.made == set(COURIERS) - {"dash"}
    assert around.headers("dash")["X-Mine"] == "open-sesame"
    assert around.shown_headers("dash")["X-Mine"] == "YOUR-SECRET"
    assert around.shown_headers("kiriminaja") == around.headers("kiriminaja")


def test_digests_alone_cannot_be_posted() -> None:
    with pytest.raises(SetupError, match="WAYBILL_DASH_SECRETS holds digests only"):
        made({"WAYBILL_DASH_SECRETS": f"sha256:{'0' * 64}"})


def test_free_default_ports_are_used() -> None:
    around = made()
    assert around.door == "http://127.0.0.1:8080"
    assert around.console == "http://127.0.0.1:9466"
    assert around.admins == {
        "console": "http://127.0.0.1:9466",
        "processor": "http://127.0.0.1:9464",
        "ingest": "http://127.0.0.1:9463",
    }
    assert around.notes == ()


def test_a_taken_default_port_gives_way_to_a_free_one_and_that_is_said() -> None:
    around = made(taken=frozenset({8080}))
    assert around.door == f"http://127.0.0.1:{FREE}"
    assert around.settings.ingest_port == FREE
    assert around.notes == (f"port 8080 is taken: WAYBILL_INGEST_PORT is {FREE}",)


def test_a_taken_port_of_the_users_choice_is_an_error() -> None:
    with pytest.raises(SetupError, match="WAYBILL_INGEST_ADMIN_PORT is 7000, and that port is taken"):
        made({"WAYBILL_INGEST_ADMIN_PORT": "7000"}, taken=frozenset({7000}))


def test_port_0_takes_a_free_one_in_silence() -> None:
    around = made({"WAYBILL_INGEST_PORT": "0"})
    assert around.settings.ingest_port == FREE
    assert around.notes == ()


def test_a_service_on_every_address_is_reached_on_this_machine() -> None:
    assert made({"WAYBILL_INGEST_HOST": "0.0.0.0"}).door == "http://127.0.0.1:8080"


def test_values_from_files_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "value"
    file.write_text("postgresql://from-a-file/db\n")
    environ = {"WAYBILL_DATABASE_URL_FILE": str(file)}
    assert addresses(environ) == {"WAYBILL_DATABASE_URL": "postgresql://from-a-file/db"}
    file.write_text("first\nsecond\n")
    around = made({"WAYBILL_DASH_SECRETS_FILE": str(file)})
    assert around.secrets["dash"] == "first"
    assert around.settings.secrets["dash"] == ("first", "second")
    file.write_text("6\n")
    assert made({"WAYBILL_TOPIC_PARTITIONS_FILE": str(file)}).settings.topic_partitions == 6


def test_wrong_settings_are_told() -> None:
    with pytest.raises(SettingsError, match="WAYBILL_INGEST_PORT"):
        addresses({"WAYBILL_INGEST_PORT": "many"})
