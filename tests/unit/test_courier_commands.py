"""`waybill courier`: what it prints, what it refuses, its exit codes."""

import asyncio
import io
import json
from pathlib import Path

import pytest

from cli.commands import courier_new
from cli.main import main
from tests.hostile import HOSTILE, commanding
from tests.unit.ingest.doors import CREDENTIALS, FakePublisher, running_door
from tests.unit.schemas.examples import SAMPLES

FAILED = SAMPLES["dash/express/failed.json"]
BODY = {
    "deliveryID": f"DE{HOSTILE}",
    "status": f"MELTED{HOSTILE}",
    HOSTILE: HOSTILE,
    "courier": {"name": f"Budi{HOSTILE}", HOSTILE: 1},
    "failedReason": None,
}


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")  # rich's own colours are not what is looked for


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    path = tmp_path / "body.json"
    path.write_text(json.dumps(BODY))
    return path


def test_a_trial_is_a_tree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["courier", "try", str(FAILED), "--courier", "dash", "--received-at", "2025-06-01T12:00:00Z"]) == 0
    told = capsys.readouterr()
    for line in (
        "record 1:1  dash:DE-1735308506306  item 1/1, 1578 bytes, from byte 0, partition 4",
        "says FAILED → FAILED · failedAt 2024-12-27T14:18:58.750000Z",
        'failedReason        "Alamat tidak ditemukan"    → reason',
        'courier.name        "********"                  → driver.name',
        "recipient.actualRecipientName  –  null says nothing",
        "not looked at: weight, sender.{firstName, lastName, companyName, phone}",
        "shipment.events  dash:DE-1735308506306/1 · shipment.status_changed · FAILED · initial",
        "1:1  FAILED → FAILED · the first · 2024-12-27T14:18:58.750000Z (courier)",
        "row: FAILED, version 1",
    ):
        assert line in told.out, told.out
    assert told.err == ""


def test_a_trial_in_json_is_one_value(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["courier", "try", str(FAILED), str(FAILED), "--courier", "dash", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["records"][0]["outcome"] for each in told["webhooks"]] == ["event", "duplicate"]
    assert told["shipments"][0]["fold"][0]["position"] == [1, 1, False, "2024-12-27T14:18:58.750000Z", 0]


def test_a_body_from_standard_input_that_nobody_can_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'{\n"deliveryID": oops}')))
    assert main(["courier", "try", "-", "--courier", "dash"]) == 1
    assert "dead letter invalid_json: JSON is malformed: invalid character (byte 16) · byte 16 (line 2, column 15)" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["try", "nothing.json", "--courier", "dash"], 1, "nothing.json cannot be read: No such file"),
        (["try", ".", "--courier", "dash"], 1, "cannot be read: Is a directory"),
        (["try", "-", "-", "--courier", "dash"], 1, "standard input can be read once"),
        (["try", str(FAILED), "--courier", "becak"], 2, "a new one begins with `waybill courier new`"),
        (["try", str(FAILED)], 2, "--courier"),
        (["try", str(FAILED), "--courier", "dash", "--received-at", "noon"], 2, "'noon' is neither a time"),
        (["send", str(FAILED), "--courier", "dash"], 2, "set WAYBILL_DASH_SECRETS"),
        (["send", str(FAILED), "--courier", "dash", "--url", "ftp://x"], 2, "'ftp://x' is no address"),
        (["new", "Dash"], 1, "'Dash' is no name for a courier"),
        (["new", "dash"], 1, "'dash' is there already"),
        (["new", "base"], 1, "'base' is there already: schemas/couriers/base.py"),
        (["new", "class"], 1, "is a word of Python's"),
        (["new", "kafka"], 1, "would look like WAYBILL_KAFKA_BOOTSTRAP_SERVERS"),
    ],
)
def test_what_is_refused(arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        found = main(["courier", *arguments])
    except SystemExit as left:
        found = int(str(left.code))
    assert (found, said in capsys.readouterr().err) == (code, True)


def test_a_courier_without_an_api_is_not_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("schemas.couriers.dash.Dash.tracking", None)
    assert main(["courier", "try", str(FAILED), "--courier", "dash", "--asked-about", "D"]) == 2
    assert "no API that could be asked" in capsys.readouterr().err


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_hostile_texts_command_no_terminal(form: list[str], hostile: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = hostile.with_name("answer.json")
    answer.write_text(json.dumps({"data": BODY, "deliveryID": f"DE{HOSTILE}", "status": f"X{HOSTILE}"}))
    torn = hostile.with_name(f"torn{HOSTILE.replace('/', '')}.json")
    torn.write_text(HOSTILE)
    seen = ""
    for given in (
        ["try", str(hostile), str(torn), "--courier", "dash", "--show-personal"],
        ["try", str(answer), "--courier", "dash", "--asked-about", f"DE{HOSTILE}"],
        ["try", f"nobody{HOSTILE}", "--courier", "dash"],
        ["new", HOSTILE],
    ):
        assert main(["courier", *given, *(form if given[0] == "try" else [])]) in {0, 1}
        told = capsys.readouterr()
        printed = told.out + told.err
        assert set(commanding(printed)) <= set(), printed
        assert "\nwaybill: ok" not in printed, printed
        seen += printed
    assert "MELTED\\" in seen


# ---- sending ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = CREDENTIALS["dash"].values()
    monkeypatch.setenv("WAYBILL_DASH_SECRETS", f"sha256:{'0' * 64},{shown}")


async def sent(url: str, *arguments: str) -> int:
    return await asyncio.to_thread(main, ["courier", "send", *arguments, "--url", url])


async def test_a_door_that_takes_it(secret: None, capsys: pytest.CaptureFixture[str]) -> None:
    publisher = FakePublisher()
    async with running_door(publisher) as door:
        assert await sent(door.url("/"), str(FAILED), str(FAILED)) == 0
    assert [record.value for record in publisher.records] == [FAILED.read_bytes()] * 2
    assert capsys.readouterr().out.count("failed.json: 200, accepted as webhook ") == 2


async def test_whose_bodies_they_are_is_found_out_or_asked(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    unreadable = tmp_path / "odd.json"
    unreadable.write_text("{}")
    parcel = SAMPLES["kiriminaja/express/shipped_packages.json"]
    for files, said in (
        ([FAILED], "set WAYBILL_DASH_SECRETS"),
        ([parcel], "set WAYBILL_KIRIMINAJA_TOKENS"),
        ([FAILED, parcel], "say --courier: none of them can read these bodies"),
        ([unreadable], "say --courier"),
    ):
        assert await sent("http://127.0.0.1:9", *map(str, files)) == 2
        assert said in capsys.readouterr().err


async def test_a_door_that_refuses_it(
    secret: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYBILL_DASH_SECRETS", "another")
    async with running_door(FakePublisher()) as door:
        assert await sent(door.url(""), str(FAILED), "--json") == 1
    (told,) = json.loads(capsys.readouterr().out)
    assert (told["status"], told["answer"]["title"]) == (401, "Unauthorized")


async def test_a_door_that_is_not_there(secret: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert await sent("http://127.0.0.1:9", str(FAILED)) == 1
    assert "failed.json: no answer, Cannot connect to host 127.0.0.1:9" in capsys.readouterr().out


async def test_what_no_door_takes_is_not_sent(
    secret: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAYBILL_INGEST_MAX_BODY_BYTES", "32")
    assert await sent("http://127.0.0.1:9", str(FAILED)) == 1
    assert "larger than the 32 bytes" in capsys.readouterr().err


# ---- a new courier ---------------------------------------------------------------------------------------------------


def test_new_is_offered_in_a_checkout_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(courier_new, "CHECKOUT", tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["courier", "new", "becak"])
    assert left.value.code == 2
    assert "invalid choice: 'new'" in capsys.readouterr().err
