"""What waits in a partition, as the metrics tell it."""

from processor.protocol.backlog import Oldest, Waiting


def test_nothing_waits_where_the_log_ends_at_the_next_offset() -> None:
    waiting = Waiting(next_offset=7)
    waiting.log_is(0, 7, 1_000.0)
    assert (waiting.records, waiting.age(2_000.0), waiting.needs_a_look) == (0, 0.0, False)


def test_the_age_grows_while_nobody_works() -> None:
    waiting = Waiting(next_offset=7, log_end=9, oldest=Oldest(7, 900.0))
    assert (waiting.records, waiting.age(1_000.0), waiting.age(5_000.0)) == (2, 100.0, 4_100.0)
    waiting.log_is(0, 12, 5_000.0)
    assert (waiting.records, waiting.age(5_000.0)) == (5, 4_100.0)
    assert not waiting.needs_a_look


def test_a_record_that_comes_while_the_partition_stands_waits_from_then_on_until_it_is_looked_at() -> None:
    waiting = Waiting(next_offset=7, log_end=7)
    waiting.log_is(0, 8, 1_000.0)
    assert waiting.needs_a_look
    assert waiting.age(1_030.0) == 30.0
    waiting.log_is(0, 9, 1_040.0)
    assert waiting.age(1_040.0) == 40.0
    waiting.oldest = Oldest(7, 990.0)
    assert waiting.age(1_040.0) == 50.0
    assert not waiting.needs_a_look


def test_what_was_applied_hours_ago_says_nothing_of_what_comes_next() -> None:
    waiting = Waiting(next_offset=6, log_end=7, oldest=Oldest(6, 1_000.0))
    waiting.applied(7, 1_000.0)
    assert waiting.age(9_000.0) == 0.0
    waiting.log_is(0, 8, 9_000.0)
    assert waiting.age(9_001.0) == 1.0


def test_between_two_batches_the_next_record_is_taken_to_be_as_old_as_the_last() -> None:
    waiting = Waiting(next_offset=6, log_end=10, oldest=Oldest(6, 1_000.0))
    waiting.applied(8, 1_010.0)
    waiting.log_is(0, 10, 1_020.0)
    assert waiting.age(1_020.0) == 10.0
    assert waiting.needs_a_look


def test_what_retention_has_removed_waits_no_more() -> None:
    waiting = Waiting(next_offset=7, log_end=20, oldest=Oldest(7, 900.0))
    waiting.log_is(15, 20, 1_000.0)
    assert (waiting.first, waiting.records) == (15, 5)
    assert waiting.needs_a_look
    waiting.log_is(20, 20, 1_000.0)
    assert (waiting.records, waiting.age(1_000.0)) == (0, 0.0)


def test_where_nothing_was_ever_applied_all_of_the_log_waits() -> None:
    waiting = Waiting()
    waiting.log_is(3, 5, 1_000.0)
    assert (waiting.first, waiting.records) == (3, 2)


def test_a_clock_behind_the_records_gives_no_negative_age() -> None:
    assert Waiting(next_offset=7, log_end=9, oldest=Oldest(7, 900.0)).age(800.0) == 0.0
