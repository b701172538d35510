"""The parts of a replay that need no store: its rate, its place, its progress."""

import io
from datetime import UTC, datetime

import msgspec
import pytest

from cli.commands.replay_told import say_job, told_job
from cli.terminal import replay_progress
from operators.replay import reprocess as replay_run
from operators.replay.jobs import Job, Mode
from operators.replay.jobs import Status as JobStatus
from operators.replay.progress import PLANNING, Progress
from operators.replay.reprocess import CHUNK, RateLimiter
from operators.replay.republish import RepublishedUpTo, is_ours
from operators.replay.stored_events import Place
from runtime.settings import load_settings


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(replay_run, "monotonic", made)
    monkeypatch.setattr(replay_progress, "monotonic", made)
    return made


@pytest.mark.parametrize(("rate", "chunk"), [(1, 1), (4, 1), (50, 10), (100_000, CHUNK), (None, CHUNK)])
def test_a_rate_is_dealt_out_finely(rate: int | None, chunk: int) -> None:
    assert RateLimiter(rate).chunk == chunk


def test_a_rate_is_kept_and_lost_time_made_up_for_a_second_only(clock: Clock) -> None:
    pace = RateLimiter(10)
    assert pace.wait(5) == pytest.approx(0.5)
    clock.now += 0.5
    assert pace.wait(5) == pytest.approx(0.5)
    clock.now += 1.0
    assert pace.wait(5) == 0
    clock.now += 60
    assert [round(pace.wait(5), 1) for _ in range(3)] == [0, 0, 0.5]
    assert RateLimiter(None).wait(1000) == 0


@pytest.mark.parametrize("committed", [RepublishedUpTo(), RepublishedUpTo(Place(2, 30, 4), 5)])
def test_a_place_survives_kafka(committed: RepublishedUpTo) -> None:
    assert RepublishedUpTo.read(committed.metadata) == committed


@pytest.mark.parametrize(
    "topic", ["shipment.events", "t.shipment.events", "t.courier.webhooks.raw", "__consumer_offsets"]
)
def test_our_topics_are_known(topic: str) -> None:
    settings = load_settings({"WAYBILL_TOPIC_PREFIX": "t."})
    assert is_ours(settings, topic)
    assert not is_ours(settings, "t.copy")


def test_elsewhere_a_line_is_printed_now_and_then(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", written := io.StringIO())
    with replay_progress.shown() as tell:
        for dealt in range(10, 101, 10):
            tell(Progress("job", "appending", dealt, 200, dealt, 0))
            clock.now += 1
    lines = [msgspec.json.decode(line) for line in written.getvalue().splitlines()]
    assert [line["dealt"] for line in lines] == [10, 60, 100]
    assert (lines[1]["rate"], lines[1]["seconds_left"]) == (10, 14)


def test_of_a_plan_a_line_is_printed_only_if_it_takes_long(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", written := io.StringIO())
    with replay_progress.planning() as tell:
        for dealt in range(10, 131, 10):
            tell(Progress(None, PLANNING, dealt, 200, 0, 0))
            clock.now += 1
    lines = [msgspec.json.decode(line) for line in written.getvalue().splitlines()]
    assert [(line["doing"], line["dealt"]) for line in lines] == [("planning", 60), ("planning", 110)]


def test_a_terminal_sees_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr", written := Terminal())
    with replay_progress.shown() as tell:
        tell(Progress("job", "appending", 50, 200, 50, 0))
        tell(Progress("job", "appending", 200, 200, 200, 0))
        tell(Progress("job", "applying", 200, 200, 200, 0, pending=80))
    shown = written.getvalue()
    assert "job appending" in shown
    assert "200/200" in shown
    assert "/s" in shown


@pytest.mark.parametrize(
    ("status", "alive", "background", "standing", "hint"),
    [
        (JobStatus.RUNNING, True, False, "running", None),
        (JobStatus.RUNNING, False, False, "interrupted", "`waybill replay resume replay-1` goes on"),
        (JobStatus.RUNNING, False, True, "waiting", "a console that acts takes it up"),
        (JobStatus.RUNNING, True, True, "running", None),
        (JobStatus.PAUSED, False, True, "paused", "`waybill replay resume replay-1` goes on"),
        (JobStatus.DONE, False, True, "done", None),
    ],
)
def test_a_job_that_waits_for_a_service_is_not_interrupted(
    status: JobStatus,
    alive: bool,
    background: bool,
    standing: str,
    hint: str | None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    at = datetime(2026, 11, 27, tzinfo=UTC)
    selection = {"background": background}
    job = Job("replay-1", Mode.REPROCESS, selection, None, None, status, None, "ani", at, at, alive=alive, positions=())
    assert job.standing == standing
    assert (told_job(job)["interrupted"], told_job(job)["waiting"]) == (
        standing == "interrupted",
        standing == "waiting",
    )
    say_job(job, {}, json=False)
    said = capsys.readouterr().out
    assert f"replay-1: reprocess, {standing}" in said
    assert hint in said if hint else "goes on" not in said
