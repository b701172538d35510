"""`waybill console user`: the lines of the file of users."""

import io

import pytest

from cli.main import main
from console.passwords import Passwords
from runtime.settings import load_settings
from tests.unit.console.consoles import PASSWORD


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))


@pytest.mark.usefixtures("typed")
async def test_its_line_lets_somebody_in(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["console", "user", "ani", "--role", "operator", "--role", "personal"]) == 0
    line = capsys.readouterr().out
    assert PASSWORD not in line
    (user,) = load_settings({"WAYBILL_CONSOLE_USERS_FILE": "users"}, lambda _: line).console_users
    assert (user.name, sorted(user.roles)) == ("ani", ["operator", "personal"])
    passwords = Passwords({user.name: user})
    assert await passwords.log_in("ani", PASSWORD) == user
    assert await passwords.log_in("ani", f"{PASSWORD}.") is None


@pytest.mark.usefixtures("typed")
def test_whoever_is_given_no_role_may_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["console", "user", "ani"]) == 0
    assert capsys.readouterr().out.startswith("ani:viewer:$argon2id$")


@pytest.mark.usefixtures("typed")
@pytest.mark.parametrize("name", ["", "a:b", "a\x1b", "a" * 201])
def test_a_name_that_cannot_stand_in_the_file_is_refused(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["console", "user", name]) == 2
    assert "waybill: " in capsys.readouterr().err


@pytest.mark.parametrize("password", ["", "short", "x" * 1_001])
def test_a_password_has_its_length(
    password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
    assert main(["console", "user", "ani"]) == 2
    assert "a password has 12 to 1000 characters" in capsys.readouterr().err
