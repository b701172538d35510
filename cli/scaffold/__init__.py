"""A new courier's files, made of templates: small, and all of them work. They are for a checkout: it has the tests."""

import keyword
import re
from pathlib import Path
from typing import Final

from runtime.settings import PREFIX, settings_in_force
from schemas.couriers import COURIERS

CHECKOUT: Final = Path(__file__).parents[2]
REGISTRY: Final = "schemas/couriers/__init__.py"
EXPECTED: Final = "tests/unit/schemas/expected"

_TEMPLATES: Final = Path(__file__).parent / "templates"
_NAME: Final = re.compile("[a-z][a-z0-9]{1,29}", re.ASCII)
_IMPORTS: Final = re.compile(r"(?:^from schemas\.\S+ import .+\n)+", re.MULTILINE)
_MEMBERS: Final = re.compile(r"(?<=for courier in \(\n)(?:^ +\w+\(\),\n)+", re.MULTILINE)


class ScaffoldError(Exception):
    """The courier cannot be begun. The text says why."""


def is_checkout(root: Path) -> bool:
    """Whether there is a checkout to write into, with its tests."""
    return (root / EXPECTED).is_dir() and (root / REGISTRY).is_file()


def scaffold(root: Path, name: str) -> list[str]:
    """Write a new courier's files into a checkout; return their paths in it, the registry's last.

    Raises:
        ScaffoldError: the name cannot be, or something has it already. Nothing was written.

    """
    _check(root, name)
    written = {path: _filled(template, name) for path, template in _files(name).items()}
    registry = _registered((root / REGISTRY).read_text(), name)
    for path, text in written.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / REGISTRY).write_text(registry)
    return [*written, REGISTRY]


def _check(root: Path, name: str) -> None:
    if not _NAME.fullmatch(name):
        raise ScaffoldError(
            f"{name!r} is no name for a courier: 2 to 30 letters and digits, lower case, a letter first"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise ScaffoldError(f"{name!r} is a word of Python's")
    there = [
        path
        for path in (f"schemas/couriers/{name}", f"schemas/couriers/{name}.py", *_files(name))
        if (root / path).exists()
    ]
    if name in COURIERS or there:
        raise ScaffoldError(f"{name!r} is there already{f': {there[0]}' if there else ''}")
    begins = f"{PREFIX}{name.upper()}_"
    if alike := [setting.name for setting in settings_in_force({}) if setting.name.startswith(begins)]:
        raise ScaffoldError(f"the settings of {name!r} would look like {alike[0]}: choose another name")


def _files(name: str) -> dict[str, str]:
    """Return the templates by the paths of what they become."""
    folder = f"schemas/couriers/{name}"
    return {
        f"{folder}/__init__.py": "courier.py.txt",
        f"{folder}/lifecycles.py": "lifecycles.py.txt",
        f"{folder}/push.py": "push.py.txt",
        f"{folder}/samples/express/picked_up.json": "picked_up.json",
        f"{folder}/samples/express/failed.json": "failed.json",
        f"{folder}/samples/express/delivered.json": "delivered.json",
        f"{EXPECTED}/{name}.py": "expected.py.txt",
    }


def _filled(template: str, name: str) -> str:
    text = (_TEMPLATES / template).read_text()
    text = text.replace("«name»", name).replace("«Name»", name.capitalize()).replace("«NAME»", name.upper())
    return _IMPORTS.sub(_sorted, text)


def _registered(registry: str, name: str) -> str:
    """Return the registry's module with one courier more."""
    line = f"from schemas.couriers.{name} import {name.capitalize()}\n"
    imported = _IMPORTS.sub(lambda found: f"{found[0]}{line}", registry)
    registered = _MEMBERS.sub(lambda found: f"{found[0]}        {name.capitalize()}(),\n", imported)
    if imported == registry or registered == imported:
        raise ScaffoldError(f"{REGISTRY} is not as it was: add {line.strip()!r} and {name.capitalize()}() by hand")
    return _IMPORTS.sub(_sorted, registered)


def _sorted(imports: re.Match[str]) -> str:
    return "".join(sorted(imports[0].splitlines(keepends=True)))
