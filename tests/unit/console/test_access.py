"""Who may look: by machine, by proxy, by file; and what no request may do."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from console.access import (
    RefusedError,
    Role,
    contradictions,
    is_local_name,
    is_own_look,
    is_own_origin,
    named_by_proxy,
)
from console.sessions import (
    FAILURES,
    SESSION_LENGTH,
    WAIT,
    Attempts,
    form_token,
    is_form_token,
    new_session,
    whose,
)
from runtime.settings import Settings, load_settings
from runtime.values import ConsoleUser

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
KEY = b"k" * 32
ANI = ConsoleUser("ani", frozenset({"viewer"}), "$argon2id$ani")
USERS = {"ani": ANI}

PROXY = {
    "CONSOLE_ACCESS": "proxy",
    "CONSOLE_HOST": "10.0.0.5",
    "CONSOLE_PROXY_PEERS": "10.0.0.7,fd00::/8,192.168.4.0/24",
    "CONSOLE_VIEWER_GROUPS": "staff",
    "CONSOLE_OPERATOR_GROUPS": "ops,leads",
    "CONSOLE_PERSONAL_GROUPS": "leads",
}
HASHED = "ani:viewer:$argon2id$x"


def settings(values: Mapping[str, str]) -> Settings:
    return load_settings({f"WAYBILL_{name}": value for name, value in values.items()})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({}, None),
        ({"CONSOLE_HOST": "::1"}, None),
        ({"CONSOLE_HOST": "localhost"}, None),
        ({"CONSOLE_HOST": "0.0.0.0"}, "CONSOLE_HOST"),
        ({"CONSOLE_HOST": "10.0.0.5"}, "CONSOLE_HOST"),
        (PROXY, None),
        (PROXY | {"CONSOLE_PROXY_PEERS": ""}, "CONSOLE_PROXY_PEERS"),
        (
            PROXY | {f"CONSOLE_{each}_GROUPS": "" for each in ("VIEWER", "OPERATOR", "PERSONAL")},
            "CONSOLE_VIEWER_GROUPS",
        ),
        ({"CONSOLE_ACCESS": "file", "CONSOLE_USERS": HASHED}, None),
        ({"CONSOLE_ACCESS": "file"}, "CONSOLE_USERS_FILE"),
        ({"CONSOLE_ACCESS": "file", "CONSOLE_USERS": HASHED, "CONSOLE_HOST": "0.0.0.0"}, "CONSOLE_TLS"),
        ({"CONSOLE_ACCESS": "file", "CONSOLE_USERS": HASHED, "CONSOLE_HOST": "0.0.0.0", "CONSOLE_TLS": "1"}, None),
    ],
)
def test_settings_that_would_let_in_anybody_are_named(values: Mapping[str, str], named: str | None) -> None:
    told = contradictions(settings(values))
    assert [f"WAYBILL_{named}" in line for line in told] == ([True] if named else [])


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1:9466", True),
        ("localhost:9466", True),
        ("[::1]:9466", True),
        ("evil.example:9466", False),
        ("127.0.0.1.evil.example", False),
        ("", False),
        ("[", False),
    ],
)
def test_only_a_loopback_name_leads_to_a_console_that_asks_nobody(host: str, local: bool) -> None:
    assert is_local_name(host) is local


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"Host": "h:1", "Origin": "http://h:1"}, True),
        ({"Host": "h:1", "Origin": "https://h:1", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Host": "h:1", "Origin": "https://h:1", "Sec-Fetch-Site": "cross-site"}, False),
        ({"Host": "h:1", "Origin": "https://h:1", "Sec-Fetch-Site": "same-site"}, False),
        ({"Host": "h:1", "Origin": "http://h:2"}, False),
        ({"Host": "h:1", "Origin": "null"}, False),
        ({"Host": "h:1"}, False),
        ({"Origin": "http://"}, False),
        ({"Host": "h", "Origin": "http://["}, False),
        ({"Host": "h", "Origin": "file://h"}, False),
    ],
)
def test_only_our_own_pages_change_something(headers: Mapping[str, str], own: bool) -> None:
    assert is_own_origin(headers, tls=False) is own
    encrypted = headers.get("Origin", "").startswith("https:")
    assert is_own_origin(headers, tls=True) is (own and encrypted)


def test_personal_data_is_not_shown_because_another_site_says_so() -> None:
    assert is_own_look({})
    assert is_own_look({"Sec-Fetch-Site": "none"})
    assert is_own_look({"Sec-Fetch-Site": "same-origin"})
    assert not is_own_look({"Sec-Fetch-Site": "cross-site"})


@pytest.mark.parametrize(
    ("peer", "groups", "roles"),
    [
        ("10.0.0.7", ["staff"], {Role.VIEWER}),
        ("::ffff:10.0.0.7", ["ops"], {Role.OPERATOR}),
        ("fd00::12", ["others, leads"], {Role.OPERATOR, Role.PERSONAL}),
        ("192.168.4.250", ["staff,leads"], set(Role)),
    ],
)
def test_a_listed_proxy_names_who_looks(peer: str, groups: Sequence[str], roles: set[Role]) -> None:
    who = named_by_proxy(settings(PROXY), peer, ["sari@example.com"], groups)
    assert (who.name, set(who.roles)) == ("sari@example.com", roles)


@pytest.mark.parametrize(
    ("peer", "users", "groups"),
    [
        ("10.0.0.8", ["sari"], ["ops"]),
        (None, ["sari"], ["ops"]),
        ("unix", ["sari"], ["ops"]),
        ("10.0.0.7", [], ["ops"]),
        ("10.0.0.7", [" "], ["ops"]),
        ("10.0.0.7", ["sari", "root"], ["ops"]),
        ("10.0.0.7", ["sari"], ["ops", "leads"]),
        ("10.0.0.7", ["sari"], ["others"]),
        ("10.0.0.7", ["sari"], []),
        ("10.0.0.7", ["s\x1b[2J"], ["ops"]),
        ("10.0.0.7", ["s" * 201], ["ops"]),
    ],
)
def test_nobody_else_is_believed(peer: str | None, users: Sequence[str], groups: Sequence[str]) -> None:
    with pytest.raises(RefusedError):
        named_by_proxy(settings(PROXY), peer, users, groups)


def test_a_session_is_its_user_s_until_it_ends() -> None:
    session = new_session(KEY, ANI, NOW)
    assert whose(KEY, session, USERS, NOW + SESSION_LENGTH - timedelta(seconds=1)) == ANI
    assert whose(KEY, session, USERS, NOW + SESSION_LENGTH) is None
    assert whose(b"j" * 32, session, USERS, NOW) is None
    assert whose(KEY, session, {}, NOW) is None
    changed = {"ani": ConsoleUser("ani", ANI.roles, "$argon2id$another")}
    assert whose(KEY, session, changed, NOW) is None


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_changed_session_is_nobody_s(cut: int) -> None:
    session = new_session(KEY, ANI, NOW)
    at = cut % len(session)
    changed = session[:at] + ("A" if session[at] != "A" else "B") + session[at + 1 :]
    for text in (changed, session[:at], session + "A", "", ".", "é.é"):
        assert whose(KEY, text, USERS, NOW) is None


def test_a_form_is_of_one_browser() -> None:
    token = form_token(KEY, "browser")
    assert is_form_token(KEY, "browser", token)
    assert not is_form_token(KEY, "another", token)
    assert not is_form_token(KEY, "", form_token(KEY, ""))
    assert not is_form_token(KEY, "browser", "")


def test_wrong_passwords_make_a_name_wait() -> None:
    attempts = Attempts(USERS)
    for number in range(FAILURES):
        assert attempts.wait("ani", NOW + timedelta(seconds=number)) is None
        attempts.failed("ani", NOW + timedelta(seconds=number))
    assert attempts.wait("ani", NOW + timedelta(minutes=1)) == WAIT - timedelta(minutes=1)
    assert attempts.wait("ani", NOW + WAIT) is None
    attempts.failed("ani", NOW + WAIT)
    assert attempts.wait("ani", NOW + WAIT) is None
    assert attempts.wait("budi", NOW) is None


def test_names_that_are_not_in_the_file_share_their_attempts_and_are_not_kept() -> None:
    attempts = Attempts(USERS)
    for number in range(1000):
        attempts.failed(f"guess-{number}", NOW)
    assert attempts.wait("another guess", NOW) == WAIT
    assert attempts.wait("ani", NOW) is None
    assert len(attempts._failed) == 1


def test_a_right_password_forgets_the_wrong_ones() -> None:
    attempts = Attempts(USERS)
    for _ in range(FAILURES):
        attempts.failed("ani", NOW)
    attempts.succeeded("ani")
    assert attempts.wait("ani", NOW) is None
