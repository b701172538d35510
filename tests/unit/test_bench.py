"""What `make bench` says of a run: the steady middle by committed offsets, what is to hold, and the page."""

import subprocess
import sys
import time
from datetime import UTC, datetime

import psutil
import pytest

from bench import compare, engines, growth, growth_told, replay
from bench.compare import Run, Wanted
from bench.filling import DIGITS, HOURS, ID, ORDER, Filling, digits, life
from bench.growing import Dead, Pace, Took, pace
from bench.growth_told import Grown
from bench.page import PAGE, marks, with_section
from bench.resident import Memory, memory_of
from bench.steady import Sample, Steady, steady_middle
from bench.watching import MOST_SECONDS, cpu_seconds, is_enough
from runtime.settings import load_settings
from schemas.stored_event import EventRow, read_event
from schemas.stored_observation import read_observation


def samples(*seen: tuple[float, int]) -> list[Sample]:
    """A run in which the engine takes 10 µs of CPU a record, and the broker a second each second."""
    return [Sample(at, committed, {"engine": committed / 100_000, "Kafka": at}) for at, committed in seen]


def test_start_and_end_of_a_run_do_not_count() -> None:
    slow_start = [(0, 10), (5, 100)]
    steady = [(6 + second, 1_000 * second) for second in range(1, 11)]
    waiting_for_work = [(30, 10_000), (60, 10_000)]
    found = steady_middle(samples(*slow_start, *steady, *waiting_for_work))
    assert found.rate == pytest.approx(1_000)
    assert found.cpu["engine"] == pytest.approx(10)
    assert found.cpu["Kafka"] == pytest.approx(1_000)
    assert found.whole_cpu == pytest.approx(1_010)


def test_an_engine_that_commits_seldom_is_measured_from_commit_to_commit() -> None:
    """Looks in between see nothing new: they are no ends of a stretch."""
    seen = [(second, second // 5 * 50_000) for second in range(5, 28)]
    assert steady_middle(samples(*seen)).rate == pytest.approx(10_000)


@pytest.mark.parametrize("seen", [[], [(0, 10)], [(0, 10), (1, 10)], [(0, 1), (1, 50), (2, 100)]])
def test_a_run_without_two_commits_in_its_middle_is_refused(seen: list[tuple[float, int]]) -> None:
    with pytest.raises(ValueError, match="too short"):
        steady_middle(samples(*seen))


@pytest.mark.parametrize(
    ("seen", "enough"),
    [
        ([(second, second) for second in range(1, 10)], False),
        ([(second, second) for second in range(1, 12)], True),
        ([(second, second // 5) for second in range(5, 25)], False),
        ([(second, second // 5) for second in range(5, 26)], True),
        ([(second, 1) for second in range(int(MOST_SECONDS) + 1)], True),
    ],
    ids=["too short", "ten seconds", "too few commits", "five commits", "for want of commits"],
)
def test_a_run_is_watched_for_some_seconds_and_commits(seen: list[tuple[float, int]], enough: bool) -> None:
    assert is_enough(samples(*seen), 10) is enough


def test_the_processor_time_of_ended_children_counts() -> None:
    """As a database server's backends end while it works."""
    before = cpu_seconds(psutil.Process().pid)
    burn = "import time\nwhile time.process_time() < 0.3: pass"
    ended = subprocess.run([sys.executable, "-c", burn], check=True)
    assert ended.returncode == 0
    with subprocess.Popen([sys.executable, "-c", f"{burn}\ninput()"], stdin=subprocess.PIPE) as running:
        child, deadline = psutil.Process(running.pid), time.monotonic() + 30
        while sum(child.cpu_times()[:2]) < 0.2 and time.monotonic() < deadline:
            time.sleep(0.01)
        # 0.3 and 0.2, of which the system passes on whole hundredths of each part.
        assert cpu_seconds(psutil.Process().pid) - before > 0.45
        running.communicate(b"\n")


def run(rate: float) -> Run:
    return Run(Steady(rate, {"engine": 88.0, "Kafka": 14.0, "PostgreSQL": 20.0}), 200)


def test_ratios_are_of_one_round_and_said_to_hold_or_not() -> None:
    runs = {
        engines.WAYBILL.name: [run(10_000), run(5_000), run(30_000)],
        engines.FASTSTREAM_BATCH.name: [run(5_000), run(1_000), run(5_000)],
        engines.TWO_PROCESSORS.name: [run(11_000), run(5_500), run(33_000)],
    }
    assert list(map(str, compare.wanted(runs))) == [
        "- one processor / FastStream in batches: 5.00 (2.00 to 6.00); at least 2.5 wanted: holds",
        "- two processors / one: 1.10 (1.10 to 1.10); at least 1.2 wanted: does not hold",
        "- ms of CPU per 1,000 records, engine: 88.00 (88.00 to 88.00); at most 35 wanted: does not hold",
        "- ms of CPU per 1,000 records, together: 122.00 (122.00 to 122.00); at most 70 wanted: does not hold",
    ]


def test_a_bound_itself_holds() -> None:
    assert str(Wanted("x", [35.0], most=35)).endswith("wanted: holds")
    assert str(Wanted("x", [2.5], least=2.5)).endswith("wanted: holds")


def test_the_table_has_a_line_for_each_engine() -> None:
    compared = [engines.WAYBILL, engines.QUIXSTREAMS]
    runs = {
        engines.WAYBILL.name: [run(10_200), run(9_900)],
        engines.QUIXSTREAMS.name: [Run(Steady(30_800, {"engine": 32.0, "Kafka": 5.0, "PostgreSQL": 0.0}), 90)] * 2,
    }
    lines = compare.table(compared, runs).splitlines()
    assert "engine · Kafka · PostgreSQL" in lines[0]
    assert "| 10,050 (9,900 to 10,200) | 88.0 · 14.0 · 20.0 | 122.0 (122.0 to 122.0) | 200 MB |" in lines[2]
    assert "| 30,800 (30,800 to 30,800) | 32.0 · 5.0 · 0.0 | 37.0 (37.0 to 37.0) | 90 MB |" in lines[3]


def test_a_section_is_written_between_its_marks_alone() -> None:
    before, behind = marks("growth")
    page = f"# Page\n\n{before}\nold\n{behind}\n\nEnd\n"
    assert with_section(page, "growth", "new \\1\n") == f"# Page\n\n{before}\n\nnew \\1\n\n{behind}\n\nEnd\n"
    with pytest.raises(LookupError):
        with_section(page, "scale", "new")


@pytest.mark.parametrize("section", [compare.SECTION, growth.SECTION, replay.SECTION])
def test_the_page_has_the_sections(section: str) -> None:
    assert with_section(PAGE.read_text(), section, "new") != PAGE.read_text()


def test_the_pace_of_a_run_is_told_of_its_first_and_its_last_tenth() -> None:
    steady = [(10 + second, 50 * second) for second in range(21)]
    assert pace(steady) == Pace(1_000, 50, 50, 50)
    slower = [(second, 100 * second) for second in range(10)] + [(19, 1_000)]
    found = pace(slower)
    assert found.first == pytest.approx(100)
    assert found.last == pytest.approx(10)
    assert pace([(0, 0), (1, 2_000)]).last == pytest.approx(2_000), "seen once"


CPU = {"engine": 30.0, "Kafka": 5.0, "PostgreSQL": 15.0}


def grown(slowest: float) -> Grown:
    return Grown(
        1_000_000,
        100,
        {"shipments": 1_340, "observations": 3_740},
        [(Steady(20_000, CPU), Steady(19_000, CPU)), (Steady(22_000, CPU), Steady(17_600, {**CPU, "engine": 50.0}))],
        Memory(400_000, 150, 153, 160, 5),
        {"`lag`": (Took(100, 5), Took(120, 6)), "`doctor`": (Took(390, 50), Took(400, slowest))},
        {"`/`": 40, "`/shipments`": slowest},
        400,
        [30, 31, 32],
        Pace(1_000_000, 4_000, 4_100, 3_900),
        Pace(50_000, 900, 1_000, 700),
        Dead(1_000_000, 90, (2.4, 2.6), (1.07, 1.08), (9, 8)),
    )


def test_what_is_told_of_growth_says_what_holds() -> None:
    text = growth_told.told(grown(299))
    assert "| records/s of one processor | 21,000 (20,000 to 22,000) | 18,300 (17,600 to 19,000) |" in text
    assert "| CPU, ms per 1,000 records: engine · Kafka · PostgreSQL | 30.0 · 5.0 · 15.0 | 40.0 · 5.0 · 15.0 |" in text
    assert "| `doctor`, ms | 390 (50) | 400 (299) |" in text
    assert "| the console's `/shipments`, ms | | 299 |" in text
    assert "5,080 bytes a shipment (`shipments` 1,340, `observations` 3,740)" in text
    assert "50,000 shipments at 900 a second: 1,000 in the first tenth, 700 in the last." in text
    assert "at most 2.6 dead rows for 100 live ones, 8 vacuums, `shipments` has grown by 8%" in text
    assert "150 MB with full caches, 153 MB at the end of 400,000 records" in text
    assert [str(each).rpartition(": ")[2] for each in growth_told.wanted(grown(301))] == [
        "does not hold",
        "does not hold",
        "does not hold",
        "does not hold",
        "holds",
        "does not hold",
        "holds",
        "holds",
        "holds",
    ]


def test_memory_that_grows_with_what_is_done_shows_in_its_slope() -> None:
    filling = [(done * 1_000, 100 + done / 4) for done in range(400)]
    flat = [(done * 1_000, 200 + done % 3) for done in range(400, 1_001)]
    assert abs(memory_of([*filling, *flat]).slope) < 1
    leaking = [(done * 1_000, 200 + done % 3 + done / 10) for done in range(400, 1_001)]
    found = memory_of([*filling, *leaking])
    assert found.slope == pytest.approx(100, abs=1)
    assert (found.records, round(found.full), round(found.last)) == (1_000_000, 247, 295)
    with pytest.raises(ValueError, match="too short"):
        memory_of([(0, 0), (10, 1)])


def test_parcels_have_digits_of_their_own() -> None:
    found = {digits(number) for number in range(0, 10_000_000, 997)}
    assert len(found) == 10_000_000 // 997 + 1
    assert {len(each) for each in found} == {DIGITS}


def test_a_life_is_multiplied_with_other_ids_and_coordinates() -> None:
    """What is stored says of a parcel its number alone; the state has its coordinates too."""
    settings = load_settings({"WAYBILL_TOPIC_PARTITIONS": "2"})
    ended, under_way = (life(settings, datetime(2026, 11, 1, tzinfo=UTC), ends=ends) for ends in (True, False))
    assert [each.row["version"] for each in ended.stages] == [1, 2, 3, 4, 5, 6]
    assert (ended.shipment[6], under_way.shipment[6]) == (True, False)
    filling = Filling(settings, 2 * HOURS + 7, datetime(2026, 11, 27, tzinfo=UTC))
    assert filling.shipments == 2 * HOURS
    assert sum(filling.records.values()) == 6 * 2 * HOURS
    row, name = ended.stages[-1].row, digits(1)
    packed = {column: row[column].replace(b"9" * DIGITS, name.encode()) for column in ("said", "event")}
    said = read_observation(f"{ID}{name}", None, packed["said"])
    event = read_event(packed["event"], EventRow(f"{ID}{name}", 6, 1, -5))
    assert (said.reference, said.details.order_id) == (f"DE-{name}", f"{ORDER}{name}")
    assert (event.id, event.courier_ref, event.order_id) == (f"{ID}{name}/6", f"DE-{name}", f"{ORDER}{name}")
    assert (event.raw.partition, event.raw.offset) == (1, -5)


def again(first: float, run: float, plan: float) -> dict[str, Steady]:
    rates = {replay.FIRST: first, replay.RUN: run, replay.PLAN: plan, replay.AUDIT: 4 * first}
    return {what: Steady(rate, {"Waybill": 1e6 / rate, "Kafka": 10.0}) for what, rate in rates.items()}


def test_replays_are_measured_in_times_of_their_round_s_first_processing() -> None:
    rounds = [again(10_000, 5_000, 20_000), again(1_000, 1_000, 500), again(10_000, 10_000, 10_000)]
    assert replay.judged(rounds).splitlines() == [
        "- `replay run --all`, and the processor: 1.00 (1.00 to 2.00) times; at most 1.3 wanted: holds",
        "- `replay plan --all`: 1.00 (0.50 to 2.00) times; at most 1 wanted: holds",
        "- `audit`: 0.25 (0.25 to 0.25) times; at most 1 wanted: holds",
    ]
    head, _, first, run, *_ = replay.table(rounds).splitlines()
    assert "CPU, µs a record: Waybill · Kafka" in head
    assert first == "| first processing | 10,000 | 1.00 (1.00 to 1.00) | 100.0 · 10.0 | 1.00 (1.00 to 1.00) |"
    assert run == (
        "| `replay run --all`, and the processor | 5,000 | 1.00 (1.00 to 2.00) | 200.0 · 10.0 | 1.00 (1.00 to 1.91) |"
    )
