"""What an installer gets of Waybill: no package at the top of somebody's site-packages."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]


def build(target: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", str(directory)]
    return subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_a_wheel_with_packages_is_refused(tmp_path: Path) -> None:
    built = build("wheel", tmp_path)
    assert built.returncode != 0
    assert "Waybill is not published as a wheel" in built.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_editable_install_leaves_a_path_and_the_command(tmp_path: Path) -> None:
    built = build("wheel:editable", tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        about = [name for name in archive.namelist() if ".dist-info/" in name]
        assert set(archive.namelist()) - set(about) == {"_waybill.pth"}
        assert archive.read("_waybill.pth").decode().splitlines() == [str(ROOT)]
        (commands,) = (archive.read(name).decode() for name in about if name.endswith("/entry_points.txt"))
    assert "waybill = cli.main:main" in commands


def test_the_image_installs_in_editable_mode() -> None:
    steps = (ROOT / "Dockerfile").read_text()
    assert "--target wheel:editable" in steps
    assert "pip wheel" not in steps
    sent = (ROOT / ".dockerignore").read_text().splitlines()
    assert {"!hatch_build.py", "!LICENSE", "!README.md"} <= set(sent), "the build reads them"
