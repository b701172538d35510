"""`waybill completion`: scripts that shells accept and that know the commands."""

import shutil
import subprocess

import pytest

from cli.commands.completion import SHELLS
from cli.main import main


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_knows_the_commands_and_the_shell_accepts_it(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in ("shipment", "doctor", "--until-end", "anomalies"):
        assert word.lstrip("-") in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_a_verb_and_a_choice(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = capsys.readouterr().out

    def completed(*words: str) -> list[str]:
        ask = f"COMP_WORDS=({' '.join(words)} ''); COMP_CWORD={len(words)}; _shtab_waybill; echo ${{COMPREPLY[@]}}"
        done = subprocess.run(["bash", "-c", f"{script}\n{ask}"], text=True, check=True, capture_output=True)
        return done.stdout.split()

    assert {"show", "list"} <= set(completed("waybill", "shipment"))
    assert {"events", "state", "anomalies", "dlq", "raw"} == set(completed("waybill", "tail", "--topic"))
