"""What the image and `compose.yaml` need is there: packages, settings, who may use the console."""

import re
import tomllib
from pathlib import Path
from typing import Any, Final

import yaml

from console.access import contradictions
from console.pages.contract import SUBSCRIBING
from runtime.settings import PREFIX, declared, load_settings

ROOT: Final = Path(__file__).parents[2]
SERVICES: Final[dict[str, Any]] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
USERS: Final = "ani:viewer:$argon2id$v=19$m=65536,t=3,p=4$c2FsdA$aGFzaA"


def settings_of(service: str) -> dict[str, str]:
    """Return a service's settings, those that the user gives left empty."""
    found = {name: str(value) for name, value in SERVICES[service].get("environment", {}).items()}
    return {name: re.sub(r"\$\{[^}]*\}", "", value) for name, value in found.items() if name.startswith(PREFIX)}


def test_every_package_goes_into_the_image() -> None:
    let_in = (ROOT / ".dockerignore").read_text().split()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    assert [package for package in packages if f"!{package}" not in let_in] == []
    assert f"!{SUBSCRIBING.relative_to(ROOT)}" in let_in


def test_compose_sets_settings_that_there_are() -> None:
    known = {f"{PREFIX}{name}{suffix}" for name in declared() for suffix in ("", "_FILE")}
    assert {name for service in SERVICES for name in settings_of(service)} <= known


def test_the_console_in_compose_lets_in_whom_its_file_lists_and_nobody_else() -> None:
    settings = load_settings(settings_of("console"), lambda _path: USERS)
    assert contradictions(settings) == []
    assert (settings.console_access, [user.name for user in settings.console_users]) == ("file", ["ani"])
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["console"]["ports"])
    assert SERVICES["console"]["profiles"] == ["console"]
