"""What `waybill replay` refuses before it looks at anything, and what it prints without a plan."""

import pytest

from cli.commands.replay_told import masked_prospect, told_prospect
from cli.main import main
from operators.replay.jobs import Asked, Mode
from operators.replay.range import Selection
from operators.replay.replays import Prospect

RUN = ("replay", "run", "--yes")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("replay", "plan"), "which records?"),
        (("replay", "plan", "--shipment", "dash:A"), "which records?"),
        (("replay", "plan", "--all", "--partition", "1"), "--all means every record"),
        (("replay", "plan", "--since", "1h", "--until", "2h"), "--since must be before --until"),
        (("replay", "plan", "--from-offset", "1:5", "--until-offset", "1:5"), "in partition 1"),
        (("replay", "plan", "--from-offset", "1:5", "--from-offset", "1:6"), "given twice"),
        (("replay", "plan", "--from-offset", "5"), "no <partition>:<offset>"),
        (("replay", "plan", "--partition", "-1"), "is not a partition"),
        (("replay", "plan", "--since", "yesterday"), "neither a time"),
        (("replay", "plan", "--all", "--courier", "pigeon"), "invalid choice"),
        ((*RUN, "--all", "--rate", "0"), "not a whole number"),
        ((*RUN, "--all", "--mode", "republish"), "go together"),
        ((*RUN, "--all", "--to-topic", "copy"), "go together"),
        ((*RUN, "--all", "--mode", "republish", "--to-topic", "shipment.events"), "nothing is republished to"),
        ((*RUN, "--all", "--mode", "republish", "--to-topic", "t.shipment.state"), "nothing is republished to"),
        ((*RUN, "--all", "--mode", "republish", "--to-topic", "__consumer_offsets"), "nothing is republished to"),
        (("replay", "run", "--all"), "--yes or --dry-run"),
        (("replay", "run", "--all", "--json"), "--yes or --dry-run"),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...],
    complaint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAYBILL_TOPIC_PREFIX", "t.")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    try:
        code = main(arguments)
    except SystemExit as stopped:
        code = int(stopped.code or 0)
    assert code == 2
    assert complaint in capsys.readouterr().err


def test_what_is_agreed_to_and_only_shown_has_a_range_without_a_plan() -> None:
    selection = Selection(everything=True)
    prospect = masked_prospect(Prospect(Mode.REPROCESS, Asked(selection, (), {}), 0, None))
    assert told_prospect(prospect) == {"mode": "reprocess", "range": selection}
