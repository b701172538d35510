"""What `squawk` says of each migration file: what locks for long, and what the version before could miss.

A file that was applied somewhere never changes, so older ones are excepted, each rule with its reason. A new file is
mended, or is for after the roll-out and named `after_…`.
"""

import json
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Final

import pytest

from runtime.migrations import AFTER, OUTSIDE
from tests.pages import ROOT

FILES: Final = sorted((ROOT / "migrations").glob("[0-9]*.sql"))

NOT_OURS: Final = {
    "require-lock-timeout": "the migrator sets it for each file, and tries again",
    "require-statement-timeout": "building an index takes as long as the table is large, and holds nobody up",
    "prefer-robust-stmts": "a file is a transaction, or the migrator looks which of its indexes is built",
    "prefer-bigint-over-int": "Kafka's partitions are 32-bit; what counts in them is no id",
    "prefer-bigint-over-smallint": "outputs.ordinal, once: 0002 made it an integer",
}
"""Rules for migrators that do less, and why they are no rules here."""

OPTIONAL: Final = ("ban-drop-index", "ban-drop-trigger")
"""Rules that have to be asked for."""

MISSED: Final = frozenset(
    {
        *("ban-drop-column", "ban-drop-table", "ban-drop-not-null", "ban-drop-constraint", "ban-drop-function"),
        *("ban-drop-index", "ban-drop-trigger", "ban-drop-type", "ban-drop-view", "ban-drop-sequence"),
        *("ban-drop-domain", "renaming-column", "renaming-table", "renaming-object"),
    }
)
"""Rules about what older versions would miss. After the roll-out there is none of them."""

RELEASED_EMPTY: Final = "part of 0.1.0: applied to an empty database"
SLOWER: Final = (
    "the version before finds the same with the new one, or by reading more: its lists are slower, never wrong"
)

EXCEPTED: Final[dict[str, dict[str, str]]] = {
    "0002_recovery": {
        "constraint-missing-not-valid": RELEASED_EMPTY,
        "ban-drop-constraint": RELEASED_EMPTY,
        "adding-serial-primary-key-field": RELEASED_EMPTY,
        "changing-column-type": RELEASED_EMPTY,
    },
    "0003_operators": {
        "constraint-missing-not-valid": RELEASED_EMPTY,
        "require-concurrent-index-creation": RELEASED_EMPTY,
        "ban-drop-not-null": RELEASED_EMPTY,
    },
    "0004_reconcile": {"require-concurrent-index-creation": RELEASED_EMPTY},
    "0006_indexes": {"ban-drop-index": SLOWER},
    "0011_hour_indexes": {"ban-drop-index": SLOWER},
    "0012_rows": {"ban-drop-not-null": "0.1.0 writes every reading; it is stopped before others write rows without"},
    "0014_row_key": {"ban-drop-constraint": "a stronger key takes its place in the same statement; none infers it"},
    "0015_old_row_indexes": {"ban-drop-index": SLOWER},
    "0016_resting": {
        "ban-drop-function": "the trigger that replaces the one of 0009 does its work, too",
        "ban-drop-trigger": "the trigger that replaces the one of 0009 does its work, too",
    },
    "0018_resting_indexes": {"ban-drop-index": SLOWER},
    "0024_dead_letter_indexes": {"ban-drop-index": SLOWER},
    "0025_without_dead_letter_header": {"ban-drop-function": "only 0023 called it"},
    "0026_anomaly_indexes": {"ban-drop-index": SLOWER},
}
"""What is found in files that databases have already, and why it does no harm."""


def found(files: Collection[Path]) -> dict[str, set[str]]:
    """Return the rules that each file breaks and should not, by the file's name."""
    broken: dict[str, set[str]] = {}
    outside = {file for file in files if file.read_text().startswith(OUTSIDE)}
    for group, wrapped in ((outside, "--no-assume-in-transaction"), (set(files) - outside, "--assume-in-transaction")):
        if group:
            said = subprocess.run(
                [
                    *(str(Path(sys.executable).with_name("squawk")), "--reporter=json", wrapped),
                    *(f"--exclude={','.join(NOT_OURS)}", f"--include={','.join(OPTIONAL)}"),
                    *map(str, sorted(group)),
                ],
                stdout=subprocess.PIPE,
                check=False,  # it exits with 1 where it finds something
                timeout=60,
            )
            for each in json.loads(said.stdout):
                name = Path(each["file"]).stem
                if each["rule_name"] not in MISSED or not name[5:].startswith(AFTER):
                    broken.setdefault(name, set()).add(each["rule_name"])
    return broken


def test_no_migration_locks_for_long_or_takes_what_the_version_before_needs() -> None:
    assert len(FILES) > 20
    assert found(FILES) == {name: set(rules) for name, rules in EXCEPTED.items()}


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("create index i on shipments (awb);", {"require-concurrent-index-creation"}),
        ("alter table shipments add column n text not null;", {"adding-required-field"}),
        ("alter table shipments alter column awb type varchar(20);", {"changing-column-type", "prefer-text-field"}),
        ("alter table shipments drop column awb;", {"ban-drop-column"}),
        ("alter table shipments rename column awb to bill;", {"renaming-column"}),
        ("alter table outputs rename to given;", {"renaming-table"}),
        (f"{OUTSIDE}drop index concurrently if exists i;", {"ban-drop-index"}),
        ("create tabel t ();", {"syntax-error"}),
        ("alter table shipments add column n text;", set()),
    ],
)
def test_what_would_harm_is_found(tmp_path: Path, text: str, rules: set[str]) -> None:
    """And where an older version would only miss it, not after the roll-out."""
    before, after = tmp_path / "0900_n.sql", tmp_path / "0901_after_n.sql"
    before.write_text(text)
    after.write_text(text)
    expected = {before.stem: rules, after.stem: rules - MISSED}
    assert found([before, after]) == {name: each for name, each in expected.items() if each}
