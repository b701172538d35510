"""Which migrations a database still needs, and what does not fit together."""

import re
from pathlib import Path
from typing import Final

import pytest

from runtime.migrations import (
    OUTSIDE,
    Applied,
    Migration,
    MigrationError,
    before_the_roll_out,
    load_migrations,
    pending,
)

INDEX = re.compile(r"^create (unique )?index .* on (shipments|observations|outputs)\\b", re.MULTILINE | re.IGNORECASE)
ONE, TWO, THREE = (Migration(number, f"step_{number}", f"select {number}") for number in (1, 2, 3))


LATER: Final = Migration(3, "after_step_2", "select 3")


def applied(*migrations: Migration) -> dict[int, Applied]:
    return {migration.version: Applied(migration.name, migration.checksum) for migration in migrations}


def test_an_empty_database_needs_all_in_order() -> None:
    assert pending((TWO, ONE, THREE), {}) == (ONE, TWO, THREE)


def test_a_database_needs_what_it_lacks() -> None:
    assert pending((ONE, TWO, THREE), applied(ONE, TWO)) == (THREE,)
    assert pending((ONE,), applied(ONE)) == ()


def test_a_changed_file_is_refused() -> None:
    with pytest.raises(MigrationError, match="0001_step_1 was changed"):
        pending((Migration(1, "step_1", "select 100"), TWO), applied(ONE))


def test_an_older_version_goes_on_beside_what_a_newer_one_has_prepared() -> None:
    assert pending((ONE,), applied(ONE, TWO, THREE)) == ()


def test_an_older_version_is_refused_once_the_newer_ones_roll_out_is_over() -> None:
    with pytest.raises(
        MigrationError, match="migration 0003_after_step_2, which this version of Waybill does not know"
    ):
        pending((ONE,), applied(ONE, TWO, LATER))


def test_a_migration_that_was_never_ours_is_refused() -> None:
    with pytest.raises(MigrationError, match="migration 0002_step_2, which this version of Waybill does not know"):
        pending((ONE, THREE), applied(ONE, TWO))


@pytest.mark.parametrize(
    ("names", "before"),
    [
        ([], 0),
        (["one"], 1),
        (["after_one"], 0),
        (["one", "after_one"], 1),
        (["one", "after_one", "after_two"], 1),
        (["one", "after_one", "two"], 3),
        (["after_one", "two", "after_two"], 2),
        (["afternoon"], 1),
    ],
)
def test_what_only_older_versions_need_goes_after_the_roll_out(names: list[str], before: int) -> None:
    """What has the next release's steps behind it is of a roll-out that is over."""
    waiting = tuple(Migration(number, name, "") for number, name in enumerate(names, start=1))
    assert before_the_roll_out(waiting) == waiting[:before]


def test_a_file_put_before_an_applied_one_is_refused() -> None:
    with pytest.raises(MigrationError, match="0002_step_2 comes before 0003"):
        pending((ONE, TWO, THREE), applied(ONE, THREE))


def test_files_are_read_in_order_and_others_ignored(tmp_path: Path) -> None:
    (tmp_path / "0002_more.sql").write_text("select 2")
    (tmp_path / "0001_first.sql").write_text("select 1")
    (tmp_path / "__init__.py").write_text("")
    assert [str(migration) for migration in load_migrations(tmp_path)] == ["0001_first", "0002_more"]


def test_two_files_with_one_number_are_refused(tmp_path: Path) -> None:
    (tmp_path / "0001_first.sql").write_text("select 1")
    (tmp_path / "0001_second.sql").write_text("select 2")
    with pytest.raises(MigrationError, match="have the same number"):
        load_migrations(tmp_path)


def test_the_bundled_migrations_are_found() -> None:
    assert load_migrations()[0].version == 1


@pytest.mark.parametrize(
    "sql",
    ["create table t ();", "create index t_name on t (name);", "create index concurrently i on t (n); drop table t"],
)
def test_a_file_outside_a_transaction_builds_indexes_and_nothing_else(sql: str) -> None:
    with pytest.raises(MigrationError, match="may only build indexes concurrently"):
        _ = Migration(1, "odd", f"{OUTSIDE}{sql}").steps


def test_large_tables_get_their_indexes_outside_a_transaction() -> None:
    """Since 0005, when the operators' commands were there: what came before has run, or runs on small tables."""
    within = [each for each in load_migrations() if each.version > 4 and not each.sql.startswith(OUTSIDE)]
    assert [str(each) for each in within if INDEX.search(each.sql)] == []
