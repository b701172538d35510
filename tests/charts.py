"""The Helm chart as helm's own engine renders it, without a cluster. The engine is built once on a machine, by Go."""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml

from tests.children import environ_with

ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "deploy" / "helm" / "waybill"
SOURCES: Final = Path(__file__).parent / "helm"
RELEASE: Final = "waybill"

BUILD_SECONDS: Final = 900.0
"""A minute of processor time, on a machine that has other things to do."""

RENDER_SECONDS: Final = 60.0

Object = dict[str, Any]
"""One of Kubernetes' objects."""


class RefusedError(Exception):
    """The chart does not take these values."""


@cache
def renderer() -> Path:
    """Return the program that renders charts, built if this machine has not built it yet."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go is not installed (Debian: apt install golang): the chart is not rendered")
    files = sorted(path for path in SOURCES.rglob("*") if path.suffix in {".go", ".mod", ".sum"})
    digest = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "waybill"
    caches.mkdir(parents=True, exist_ok=True)
    program = caches / f"render-{digest}"
    with (caches / "render.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            if (fetched := _go(go, "mod", "download")).returncode:
                pytest.skip(f"Go cannot fetch helm's engine, so the chart is not rendered: {fetched.stderr[-300:]}")
            # Without optimising it is built in half the time.
            new = program.with_suffix(".new")
            flags = ("-trimpath", "-gcflags=all=-N -l -dwarf=false", "-ldflags=-s -w")
            built = _go(go, "build", *flags, "-o", str(new), ".")
            assert built.returncode == 0, built.stderr
            new.rename(program)
    return program


def _go(go: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nice", go, *arguments],
        cwd=SOURCES,
        env=environ_with({"CGO_ENABLED": "0", "GOFLAGS": ""}),
        capture_output=True,
        text=True,
        timeout=BUILD_SECONDS,
        check=False,
    )


def render(*files: Path, release: str = RELEASE) -> dict[str, str]:
    """Return what each template gives, by its name. The values of later files go before earlier ones.

    Raises:
        RefusedError: the values do not fit.

    """
    done = subprocess.run(
        [renderer(), CHART, release, "shop", *files],
        capture_output=True,
        text=True,
        timeout=RENDER_SECONDS,
        check=False,
    )
    if done.returncode:
        raise RefusedError(done.stderr)
    texts: dict[str, str] = msgspec.json.decode(done.stdout)
    return {name.removeprefix("waybill/templates/"): text for name, text in texts.items()}


def objects(texts: Mapping[str, str]) -> list[Object]:
    """Return the objects that templates give."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return [
        each
        for name, text in texts.items()
        if name.endswith(".yaml")
        for each in yaml.load_all(text, Loader=loader)
        if each
    ]


@cache
def named(values: str) -> list[Object]:
    """Return the objects of one of the chart's own sets of values. Nobody changes them."""
    return objects(render(CHART / "ci" / f"{values}-values.yaml"))


def pod_of(each: Object) -> Object | None:
    """Return the template of the pods that an object makes, if it makes any."""
    spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each.get("spec", {})
    template: Object | None = spec.get("template")
    return template
