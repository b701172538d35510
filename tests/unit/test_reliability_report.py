"""docs/reliability.md, as `make chaos` writes it."""

from pathlib import Path

import pytest

from tests.faults import report
from tests.faults.chaos import Outcome, Recovery


def outcome(title: str, times: int) -> Outcome:
    recoveries = [Recovery("a cut", seconds) for seconds in (3.0, 1.0, 2.0)]
    return Outcome(
        title=title,
        about="What was done.",
        seconds=90,
        faults={"a cut": times, "a kill": 1},
        recoveries=recoveries,
        counts={"found at the end": {"events": 1_234}},
    )


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    page = tmp_path / "reliability.md"
    monkeypatch.setattr(report, "PAGE", page)
    tests = [report.Test("tests/faults/test_x.py::test_a_full_disk", "passed", 2.2)]
    report.write_report([outcome("One", 3), outcome("Two", 4)], tests, ("Kafka: embedded, 1:2",), whole=True)
    return page


def test_each_run_is_a_section_and_the_single_faults_come_last(written: Path) -> None:
    text = written.read_text()
    assert list(report.sections_of(text)) == ["One", "Two", report.ONE_BY_ONE]
    assert "| a cut | 3 | 2.0 s, 3.0 s (3) |" in text
    assert "| a kill | 1 | not measured by itself |" in text
    assert "| events | 1,234 |" in text
    assert "| a full disk | passed | 2 s |" in text
    assert "Kafka: embedded.\n" in text


def test_a_part_leaves_the_other_sections_as_they_are(written: Path) -> None:
    before = report.sections_of(written.read_text())
    report.write_report([outcome("Two", 5), outcome("Three", 6)], [], ("Kafka: named, 3:4",), whole=False)
    after = report.sections_of(written.read_text())
    assert list(after) == ["One", "Two", "Three", report.ONE_BY_ONE]
    assert {name for name in before if before[name] == after[name]} == {"One", report.ONE_BY_ONE}
    assert "| a cut | 5 |" in after["Two"]
    assert report.page(after) == written.read_text()


def test_a_whole_run_leaves_nothing_of_an_older_page(written: Path) -> None:
    report.write_report([outcome("Three", 6)], [], (), whole=True)
    assert list(report.sections_of(written.read_text())) == ["Three"]
