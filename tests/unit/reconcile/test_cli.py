"""What `waybill reconcile` says before it asks anybody."""

import os

import pytest

from cli.main import main
from tests.unit.test_secrets import SECRET

DASH = {
    "WAYBILL_DASH_API_URL": "https://api.example.com",
    "WAYBILL_DASH_CLIENT_KEY": SECRET,
    "WAYBILL_DASH_CLIENT_SECRET": SECRET,
}


@pytest.fixture(autouse=True)
def environ(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("WAYBILL_"):
            monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("arguments", "settings", "says"),
    [
        ([], {}, "no courier can be asked: set WAYBILL_KIRIMINAJA_API_URL and WAYBILL_KIRIMINAJA_API_KEY or WAYBILL_D"),
        (["--once"], {"WAYBILL_DASH_CLIENT_KEY": SECRET}, "no courier can be asked: set "),
        (
            ["--courier", "dash"],
            {**DASH, "WAYBILL_DASH_CLIENT_SECRET": ""},
            "dash cannot be asked: set WAYBILL_DASH_CLIENT_SECRET\n",
        ),
        (["--courier", "kiriminaja"], DASH, "kiriminaja cannot be asked: set WAYBILL_KIRIMINAJA_API_URL and"),
        ([], {**DASH, "WAYBILL_DASH_API_URL": "http://api.example.com"}, "WAYBILL_DASH_API_URL must begin with https"),
    ],
)
def test_what_is_missing_is_one_line(
    arguments: list[str],
    settings: dict[str, str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert main(["reconcile", *arguments]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith(f"waybill: {says}")
    assert complaint.count("\n") == 1
    assert SECRET not in complaint
