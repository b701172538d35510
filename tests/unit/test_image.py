"""What the image and `compose.yaml` need is there: packages, settings, who may use the console."""

import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from console.access import contradictions
from console.pages.contract import SUBSCRIBING
from runtime.settings import PREFIX, declared, load_settings

ROOT: Final = Path(__file__).parents[2]
COMPOSE: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: Final[dict[str, Any]] = COMPOSE["services"]
OURS: Final = {name: service for name, service in SERVICES.items() if service["image"] == "waybill:local"}
USERS: Final = "ani:viewer:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"
TOLD: Final = {
    "console_users": USERS,
    "console_session_key": "k" * 48,
    "database_url": "postgresql://waybill:secret@postgres:5432/waybill",
}
"""What stands in the files of secrets; in others anything."""


def settings_of(service: str) -> dict[str, str]:
    """Return a service's settings where the user gives none."""
    found = {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}
    return {
        name: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for name, value in found.items() if name.startswith(PREFIX)
    }


def test_every_package_goes_into_the_image() -> None:
    let_in = (ROOT / ".dockerignore").read_text().split()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    assert [package for package in packages if f"!{package}" not in let_in] == []
    assert f"!{SUBSCRIBING.relative_to(ROOT)}" in let_in


def test_compose_sets_settings_that_there_are() -> None:
    known = {f"{PREFIX}{name}{suffix}" for name in declared() for suffix in ("", "_FILE")}
    assert {name for service in SERVICES for name in settings_of(service)} <= known


def read(path: str) -> str:
    return TOLD.get(Path(path).name, "secret")


def test_the_console_in_compose_lets_in_whom_its_file_lists_and_nobody_else() -> None:
    settings = load_settings(settings_of("console"), read)
    assert contradictions(settings) == []
    assert (settings.console_access, [user.name for user in settings.console_users]) == ("file", ["ani"])
    assert settings.console_session_key == TOLD["console_session_key"]


def test_compose_runs_everything() -> None:
    runs = {name for name, service in OURS.items() if not service.get("profiles")}
    assert runs == {"migrate", "ingest", "processor", "console", "retention"}
    assert {name: service["profiles"] for name, service in SERVICES.items() if "profiles" in service} == {
        "reconcile": ["reconcile"],
        "prometheus": ["observe"],
        "grafana": ["observe"],
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_in_compose_may_do_little_and_comes_back(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == ("on-failure" if name == "migrate" else "unless-stopped")
    assert {"mem_limit", "cpus", "pids_limit", "logging"} <= service.keys()
    assert "user" not in service or service["user"] != "root"
    assert ("healthcheck" in service) == (name not in {"migrate", "retention"})
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


@pytest.mark.parametrize("name", OURS)
def test_our_image_is_never_fetched(name: str) -> None:
    assert OURS[name]["pull_policy"] == "never"


@pytest.mark.parametrize("name", OURS)
def test_secrets_in_compose_are_files_of_those_who_need_them(name: str) -> None:
    given = settings_of(name)
    secrets = {f"{PREFIX}{setting}" for setting, declaration in declared().items() if declaration.mask}
    assert not secrets & given.keys()
    files = {Path(value).name for setting, value in given.items() if setting.endswith("_FILE")}
    assert files == set(OURS[name]["secrets"])
    assert all(value.startswith("/run/secrets/") for setting, value in given.items() if setting.endswith("_FILE"))
    assert ("database_url" in files) == (name != "ingest")
    load_settings(given, read)


def test_the_script_writes_every_secret() -> None:
    script = (ROOT / "deploy" / "compose-secrets.sh").read_text()
    for name, secret in COMPOSE["secrets"].items():
        assert re.search(rf"\b{name}\b", script)
        assert secret["file"] == f"${{WAYBILL_SECRETS_DIR:?run deploy/compose-secrets.sh first}}/{name}"
    assert all(secret in COMPOSE["secrets"] for service in SERVICES.values() for secret in service.get("secrets", ()))


def test_secrets_are_written_once(tmp_path: Path) -> None:
    """By a docker that hashes no password: what it prints is kept as the file of users."""
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\nif [ "$1" = run ]; then cat; fi\n')
    docker.chmod(0o755)
    directory = tmp_path / "secrets"
    environment = {"PATH": os.environ["PATH"], "DOCKER": str(docker), "WAYBILL_SECRETS_DIR": str(directory)}

    def written() -> tuple[str, dict[str, str]]:
        script = [ROOT / "deploy" / "compose-secrets.sh"]
        done = subprocess.run(script, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout, {file.name: file.read_text() for file in directory.iterdir()}

    said, first = written()
    assert first.keys() == COMPOSE["secrets"].keys()
    assert f"console: admin, password {first['console_users']}" in said
    assert first["dash_secrets"] in said
    assert first["database_url"] == f"postgresql://waybill:{first['postgres_password']}@postgres:5432/waybill"
    assert len({value for value in first.values() if value}) == 6, "each is another"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in directory.iterdir()} == {0o644}
    assert written() == ("", first)
    assert not (tmp_path / ".env").exists()
    del environment["WAYBILL_SECRETS_DIR"]
    written()
    assert (tmp_path / ".env").read_text() == "WAYBILL_SECRETS_DIR=secrets\n"
