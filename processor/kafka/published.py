"""What was published last of each shipment, as `waybill recover` reads it: on disk, however many there are."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from tempfile import NamedTemporaryFile
from typing import Final

import msgspec

from schemas.events import State
from schemas.partitioning import partition_of
from schemas.tolerant_json import unstorable

CACHE_KIB: Final = 16_384
"""KiB of memory that SQLite takes for its pages."""

AT_ONCE: Final = 500
"""Names in one statement: SQLite takes 999 parameters everywhere."""

_TABLE: Final = """
create table published (
    name text primary key,
    home integer not null,
    is_home integer not null,
    value blob
) without rowid;
create index by_home on published (home, name);
"""
_TAKE: Final = """
insert into published values (?, ?, ?, ?)
on conflict (name) do update set is_home = excluded.is_home, value = excluded.value
where excluded.is_home >= published.is_home
"""
_decode_state: Final = msgspec.json.Decoder(State).decode


class PublishedStates:
    """The newest published states, by shipment. Those of a topic that has grown may stand in two partitions."""

    def __init__(self, database: sqlite3.Connection, partitions: int) -> None:
        """Use `published`."""
        self._database = database
        self._partitions = partitions

    def take(self, partition: int, records: Iterable[tuple[bytes | None, bytes | None]]) -> None:
        """Take in records of a partition, in order. What stands where its key belongs counts before what does not.

        Records of others, whose key is not a shipment's, are passed over.
        """
        rows = (
            (name, home := partition_of(key, self._partitions), home == partition, value)
            for key, value in records
            if key and (name := _name(key)) is not None
        )
        with self._database:
            self._database.executemany(_TAKE, rows)

    def count(self, partition: int) -> int:
        """Return of how many shipments of a partition something was taken in and not dropped."""
        (found,) = self._database.execute("select count(*) from published where home = ?", (partition,)).fetchone()
        return int(found)

    def states(self, names: Sequence[str]) -> dict[str, State | None]:
        """Return those of these shipments that were published; None where one was forgotten.

        A value that cannot be read counts as not published: a correction takes its place.
        """
        return {
            name: state
            for chunk in _chunks(names)
            for name, value in self._database.execute(
                f"select name, value from published where name in ({_marks(chunk)})",  # noqa: S608 - marks alone
                chunk,
            )
            for state in _states(name, value)
        }

    def drop(self, names: Sequence[str]) -> None:
        """Forget shipments that are dealt with."""
        with self._database:
            for chunk in _chunks(names):
                self._database.execute(f"delete from published where name in ({_marks(chunk)})", chunk)  # noqa: S608

    def left(self, partition: int, limit: int) -> list[str]:
        """Return some shipments of a partition that are left, in the order of their ids."""
        rows = self._database.execute(
            "select name from published where home = ? order by name limit ?", (partition, limit)
        )
        return [name for (name,) in rows]


@contextmanager
def published(partitions: int) -> Iterator[PublishedStates]:
    """Give an empty collection, in a file of its own that goes with it."""
    with NamedTemporaryFile(prefix="waybill-recover-") as file, closing(sqlite3.connect(file.name)) as database:
        for pragma in ("journal_mode = off", "synchronous = off", f"cache_size = -{CACHE_KIB}"):
            database.execute(f"pragma {pragma}")
        database.executescript(_TABLE)
        yield PublishedStates(database, partitions)


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(names), AT_ONCE):
        yield names[start : start + AT_ONCE]


def _marks(chunk: Sequence[str]) -> str:
    return ",".join("?" * len(chunk))


def _name(key: bytes) -> str | None:
    try:
        name = key.decode()
    except UnicodeDecodeError:
        return None
    return None if unstorable(name) else name


def _states(name: str, value: bytes | None) -> Iterator[State | None]:
    """Read a published value; nothing, if it cannot be read."""
    if value is None:
        yield None
        return
    try:
        state: State = _decode_state(value)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return
    if state.shipment_id == name:
        yield state
