"""What the live view shows."""

import io
from datetime import UTC, datetime

from cli.demo.live import Live
from cli.demo.scenario import Mismatch, Seen, load_stories, play
from cli.demo.surroundings import surroundings
from cli.terminal.console import GuardedConsole
from schemas.couriers import COURIERS
from schemas.records import Provenance

NOW = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)


def shown() -> tuple[Live, io.StringIO]:
    out = io.StringIO()
    return Live(GuardedConsole(file=out, width=120, highlight=False)), out


def test_the_summary_names_what_is_wrong() -> None:
    live, out = shown()
    scenario = play(load_stories(), "t3st", NOW, None)
    names = list(scenario.expected)
    live.summary(scenario, {name: Seen() for name in names[1:]}, [Mismatch(names[0], "missing: event 1")])
    assert f"{names[0]}: missing: event 1" in out.getvalue()
    assert "1 of 11 shipments are not as expected." in out.getvalue()
    assert out.getvalue().count("✓") == len(scenario.shipments) - 1


def test_the_summary_says_when_all_is_well() -> None:
    live, out = shown()
    live.summary(play(load_stories(), "t3st", NOW, None), {}, [])
    assert "All 11 shipments are as expected." in out.getvalue()


def test_curl_lines_stay_in_one_line_and_hide_the_users_secret() -> None:
    live, out = shown()
    around = surroundings(
        {"WAYBILL_DASH_SECRETS": "open-sesame"},
        kafka_bootstrap_servers="127.0.0.1:9092",
        database_url="postgresql://127.0.0.1/waybill",
        is_free=lambda _: True,
        free_port=lambda: 1,
    )
    live.invitation(around, "t3st", NOW)
    lines = [line for line in out.getvalue().splitlines() if line.startswith("curl ")]
    (dash,) = [line for line in lines if "/webhooks/dash " in line]
    (kiriminaja,) = [line for line in lines if "/webhooks/kiriminaja " in line]
    assert len(lines) == len(COURIERS)
    assert "open-sesame" not in out.getvalue()
    assert "-H 'X-Dash-Secret: YOUR-SECRET'" in dash
    assert f"-H 'Authorization: Bearer {around.secrets['kiriminaja']}'" in kiriminaja


def test_how_to_look_into_it_names_what_the_user_has_not_set() -> None:
    live, out = shown()
    around = surroundings(
        {"WAYBILL_DATABASE_URL": "postgresql://me:open-sesame@127.0.0.1/mine"},
        kafka_bootstrap_servers="127.0.0.1:1234",
        database_url="postgresql://me:open-sesame@127.0.0.1/mine",
        is_free=lambda _: True,
        free_port=lambda: 1,
    )
    live.invitation(around, "t3st", NOW)
    (line,) = [line for line in out.getvalue().splitlines() if line.startswith("export ")]
    assert "WAYBILL_KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:1234" in line
    assert "WAYBILL_TOPIC_PARTITIONS=4" in line
    assert f"in a browser: {around.console}\n" in out.getvalue()
    assert "open-sesame" not in out.getvalue()


def test_the_bodies_to_try_say_something() -> None:
    for name, courier in COURIERS.items():
        (piece,) = courier.split(courier.example.replace("NOW", "2026-01-15T09:30:00Z").encode())
        observation = courier.read(piece.value, Provenance(courier=name, received_at=NOW), UTC)
        assert observation.reference.endswith("RUN-yours")
        assert observation.status is not None
