"""`waybill courier new`, taken to green: in a copy of the checkout a new courier passes its checks as it is written."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from cli.scaffold import CHECKOUT, EXPECTED, REGISTRY, ScaffoldError, is_checkout, scaffold

NAME: Final = "becakku"
NEEDED: Final = ("cli", "ingest", "operators", "processor", "runtime", "schemas", "tests", "pyproject.toml")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout in which the courier was begun."""
    root = tmp_path_factory.mktemp("checkout")
    for name in NEEDED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, root / name)  # with what is compiled
        else:
            shutil.copy(source, root / name)
    assert scaffold(root, NAME)[-1] == REGISTRY
    return root


def done(*command: str, at: Path) -> str:
    """Run Python in the copy; return what it says. It must succeed."""
    ran = subprocess.run(
        [sys.executable, *command],
        cwd=at,
        env={"PYTHONPATH": str(at), "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


WRITTEN: Final = (f"schemas/couriers/{NAME}", f"{EXPECTED}/{NAME}.py", REGISTRY)


def test_its_code_is_clean(copy: Path) -> None:
    done("-m", "ruff", "format", "--no-cache", "--check", *WRITTEN, at=copy)
    done("-m", "ruff", "check", "--no-cache", *WRITTEN, at=copy)


def test_its_types_are_right(copy: Path) -> None:
    done("-m", "mypy", *WRITTEN, at=copy)


def test_its_own_expectations_hold(copy: Path) -> None:
    suites = [f"tests/unit/schemas/test_{suite}.py" for suite in ("samples", "lifecycle")]
    said = done("-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", "-k", f"{NAME} or every", *suites, at=copy)
    assert "passed" in said


def test_its_samples_do_what_they_say(copy: Path) -> None:
    samples = sorted(map(str, (copy / "schemas" / "couriers" / NAME / "samples").rglob("*.json")))
    said = done("-m", "cli.main", "courier", "try", *samples, "--courier", NAME, at=copy)
    assert "row: DELIVERED, version 3" in said


def test_what_is_there_is_never_overwritten(copy: Path) -> None:
    before = (copy / REGISTRY).read_text()
    with pytest.raises(ScaffoldError, match="is there already: schemas/couriers/becakku"):
        scaffold(copy, NAME)
    assert (copy / REGISTRY).read_text() == before


def test_a_registry_of_another_form_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / EXPECTED).mkdir(parents=True)
    (tmp_path / REGISTRY).parent.mkdir(parents=True)
    (tmp_path / REGISTRY).write_text("COURIERS = {}\n")
    assert is_checkout(tmp_path)
    with pytest.raises(ScaffoldError, match="by hand"):
        scaffold(tmp_path, NAME)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["__init__.py"]
