"""Removes containers when told to end. The guard runs it, so that a killed run leaves no container behind."""

import signal
import sys

import docker
from docker.errors import NotFound
from testcontainers.core.docker_client import get_docker_host


def main() -> None:
    """Wait for SIGTERM, then remove the containers whose names are given."""
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.pause()
    client = docker.DockerClient(base_url=get_docker_host())
    for name in sys.argv[1:]:
        try:
            client.containers.get(name).remove(force=True, v=True)
        except NotFound:
            continue
    client.close()


if __name__ == "__main__":
    main()
