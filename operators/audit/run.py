"""`waybill audit`: folds what is stored once more and compares it with the rows and with what is published.

It is done beside live traffic, at one cursor: first how far is published is read, then the state topic to its end, then
PostgreSQL, page by page, each page in one snapshot. PostgreSQL leads, so whatever the topic shows is stored, and every
event before the emission cursor must be on the topic; a newer row is traffic. The sums come before all that, of all
partitions at one moment of their own: whoever counts one partition's rows has read the pages of all.

Memory: the ids of the shipments (some 80 bytes each), two digests for each published state of one partition (some 400
bytes), and with `--from-raw` the readings of at most `SLICE_RECORDS` records. No lock is held but those of reading, and
no snapshot longer than a page takes, or counting.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final
from zlib import crc32

import msgspec

from operators.audit.accounting import Gone
from operators.audit.compare import compare, compare_counts, compare_outdated, compare_raw
from operators.audit.dead_letter_topic import compare_dead_letters
from operators.audit.facts import Counts, Difference, Facts
from operators.audit.judge_state import Differing, Late, judge_state
from operators.audit.pages import Comparing, Page, read_page
from operators.audit.partition_reader import PATIENCE_SECONDS, POLL_SECONDS, Heard, PartitionReader
from operators.audit.raw_topic import Raw
from operators.audit.report import COMPARING, LISTED, Reached, Report, Scope, Tell
from operators.audit.state_topic import States
from operators.audit.unaccounted import Unaccounted
from operators.shared.errors import OperatorError
from operators.shared.finding import find_shipment
from processor.core.cursor import Committed, Cursor, emission
from processor.storage.recovery import RecoveryStore
from runtime import kafka, kafka_admin
from runtime.kafka_asking import Admin
from runtime.kafka_types import Consumer
from runtime.postgres import OPERATOR, Pool, Row, open_pool
from runtime.queries import load_queries
from runtime.settings import Settings
from schemas.partitioning import partition_of
from schemas.topics import Topic

PAGE: Final = 500
"""Shipments compared together at most, in one snapshot: some hundred milliseconds, some megabytes. Hot ones: fewer."""

SLICE_RECORDS: Final = 100_000
"""Records of a partition whose readings are kept at once. A longer log is read several times, a share of the shipments
each time: some 200 MB at most, whatever the log's length."""

COUNT_SECONDS: Final = 1_800.0
"""How long the rows may take to be counted: a second for each million, on a slow disk ten. It only reads."""

RECOUNTS: Final = 2
"""How often sums that do not agree are counted again before they count as wrong."""

_Q: Final = load_queries("operators.audit")


async def audit(settings: Settings, scope: Scope, tell: Tell) -> Report:
    """Audit. `tell` hears how far it is, every second or so.

    Raises:
        OperatorError: the shipment or the partition is not there, or a recovery is due or under way.
        UnreachableError: Kafka or PostgreSQL cannot be reached.

    """
    async with (
        kafka.admin_client(settings) as admin,
        await open_pool(settings, OPERATOR, 2) as pool,
        kafka.open_reader(settings, "waybill-audit-topics") as topics,
        kafka.open_reader(settings, "waybill-audit-raw") as raw,
    ):
        return await _Audit(settings, admin, pool, topics, raw, scope, tell).run()


class _Audit:
    """One run. It keeps what it found."""

    def __init__(
        self,
        settings: Settings,
        admin: Admin,
        pool: Pool,
        topics: Consumer,
        raw: Consumer,
        scope: Scope,
        tell: Tell,
    ) -> None:
        self._settings = settings
        self._admin = admin
        self._pool = pool
        self._topics = topics
        self._raw = raw
        self._scope = scope
        self._tell = tell
        self._differences: list[Difference] = []
        self._outdated: set[str] = set()
        self._corrections: list[Difference] = []
        self._found = self._shipments = self._records = self._from_raw = self._unchecked = self._derived = (
            self._unread
        ) = 0

    async def run(self) -> Report:
        """Audit what the scope says."""
        cursors = await self._cursors()
        only: str | None = None
        if self._scope.shipment is not None:
            only = await find_shipment(self._pool, self._scope.shipment)
        wanted = self._wanted(cursors, only)
        ids = {partition: [only] for partition in wanted} if only else await self._ids(cursors, wanted)
        if wanted and only is None:
            await self._count({partition: cursors[partition] for partition in wanted})
        for partition in wanted:
            await self._partition(partition, cursors[partition], ids[partition], only)
        return Report(
            self._differences,
            self._found,
            len(wanted),
            self._shipments,
            self._records,
            self._from_raw,
            self._unchecked,
            self._derived,
            self._unread,
            len(self._outdated),
            self._corrections,
        )

    async def _cursors(self) -> dict[int, Cursor]:
        cursors = await RecoveryStore(self._pool).cursors()
        for cursor in cursors.values():
            if cursor.recover_until is not None:
                raise OperatorError("a recovery is under way, or was interrupted: `waybill recover` finishes it")
            if (cursor.raw_topic, cursor.consumer_group) != (
                self._settings.topic(Topic.RAW),
                self._settings.group_id,
            ):
                raise OperatorError(f"the database belongs to {cursor.stream}: `waybill recover` tells more")
        return cursors

    def _wanted(self, cursors: Mapping[int, Cursor], only: str | None) -> list[int]:
        asked = self._scope.partition
        if only is not None and cursors:
            asked = partition_of(only.encode(), next(iter(cursors.values())).partitions)
        if asked is None:
            return sorted(cursors)
        if asked not in cursors:
            raise OperatorError(f"partition {asked} has no cursor: nothing of it was processed yet")
        return [asked]

    async def _ids(self, cursors: Mapping[int, Cursor], wanted: Sequence[int]) -> dict[int, list[str]]:
        ids: dict[int, list[str]] = {partition: [] for partition in wanted}
        partitions = max((cursor.partitions for cursor in cursors.values()), default=1)
        async for page in RecoveryStore(self._pool).shipment_ids():
            for name in page:
                home = partition_of(name.encode(), partitions)
                if home in ids:
                    ids[home].append(name)
        return ids

    async def _partition(self, partition: int, cursor: Cursor, ids: Sequence[str], only: str | None) -> None:
        emitted = await self._emitted(partition, cursor)
        tail = self._reader(self._topics, Topic.STATE, partition)
        await tail.rewind()

        def holds(name: str) -> bool:
            return name == only if only else partition_of(name.encode(), cursor.partitions) == partition

        states = States(tail, holds)
        await states.read_on()
        comparing = Comparing(partition, cursor, emitted, states, monotonic() + PATIENCE_SECONDS)
        if self._scope.from_raw:
            await self._compare_with_raw(comparing, ids, only)
        else:
            await self._compare(comparing, sorted(states.newest.keys() | ids), None)
        if only is None:
            self._unread += cursor.began_at
            letters = self._reader(self._topics, Topic.DEAD_LETTERS, partition)
            emitted = await self._emitted(partition, cursor)
            found, since = await compare_dead_letters(letters, self._pool, partition, cursor, emitted)
            self._add(found)
            await self._account(partition, cursor, since)

    def _reader(self, reader: Consumer, topic: Topic, partition: int) -> PartitionReader:
        """Return what reads a partition of a topic, and tells how far it is."""
        heard = self._telling(partition, f"reading {topic}")
        return PartitionReader(reader, self._settings.topic(topic), partition, heard)

    def _telling(self, partition: int, doing: str) -> Heard:
        return lambda done, total: self._tell(Reached(partition, doing, done, total))

    async def _emitted(self, partition: int, cursor: Cursor) -> int:
        """Return the offset before which everything is published."""
        group, topic = cursor.consumer_group, cursor.raw_topic
        found = await kafka_admin.committed_offsets(self._admin, group, topic, [partition])
        return emission(cursor, Committed.of(found, partition)).emit_from

    async def _compare_with_raw(self, comparing: Comparing, ids: Sequence[str], only: str | None) -> None:
        partition, cursor = comparing.partition, comparing.cursor
        tail = self._reader(self._raw, Topic.RAW, partition)
        start, end = await tail.start(), await tail.end()
        if end < cursor.next_offset:
            raise OperatorError(f"partition {partition}: the log ends before the cursor: `waybill recover` tells more")
        raw = Raw(self._settings, self._pool, tail, partition, cursor)
        shares = 1 if only else -(-(end - start) // SLICE_RECORDS) or 1
        for share in range(shares):

            def holds(name: str, share: int = share) -> bool:
                return name == only if only else crc32(name.encode()) % shares == share

            await raw.begin(holds)
            await raw.read_on(cursor.next_offset)
            names = {*filter(holds, ids), *filter(holds, comparing.states.newest), *raw.names}
            await self._compare(comparing, sorted(names), raw)

    async def _compare(self, comparing: Comparing, names: Sequence[str], raw: Raw | None) -> None:
        at, told = 0, self._telling(comparing.partition, COMPARING)
        while at < len(names):
            page = await self._page(comparing, names[at : at + PAGE])
            at += len(page.facts)
            for facts in page.facts:
                self._shipments += facts.row is not None
                self._derived += len(facts.derived)
                self._add(compare(facts))
                self._correct(compare_outdated(facts))
            await self._judge_states(comparing, page.facts)
            if raw is not None:
                await raw.read_on(page.next_offset)
                await self._compare_page_with_raw(comparing, page, raw)
            told(at, len(names))

    async def _page(self, comparing: Comparing, names: Sequence[str]) -> Page:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            now = await connection.fetchrow(_Q["audit_cursor"], comparing.partition)
            return await read_page(connection, comparing, names, _unrecovered(now, comparing.cursor)["next_offset"])

    async def _judge_states(self, comparing: Comparing, page: Sequence[Facts]) -> None:
        """Judge the published states. What is missing may still come, and is read on for."""
        late: list[Late] = []
        for facts in page:
            match judge_state(facts):
                case Late() as verdict:
                    late.append(verdict)
                case Difference() as difference:
                    self._add([difference])
                case Differing(wanted) if len(self._differences) < LISTED:
                    self._add(await comparing.states.differences(facts, wanted))
                case Differing():
                    self._found += 1
                case None:
                    pass
        waiting = True
        while late and waiting:
            waiting = monotonic() < comparing.deadline
            await asyncio.sleep(POLL_SECONDS)
            await comparing.states.read_on()
            late = [each for each in late if isinstance(judge_state(comparing.states.seen_by(each.facts)), Late)]
        self._add(each.difference for each in late)

    async def _compare_page_with_raw(self, comparing: Comparing, page: Page, raw: Raw) -> None:
        start = await raw.start()
        for facts in page.facts:
            coordinates = page.coordinates.get(facts.shipment_id, [])
            here = comparing.cursor.incarnation, comparing.partition
            reaches_back = any((each[:2] != here) or each[2] < start for each in coordinates)
            if facts.row is not None and (facts.row.retired or facts.lost or reaches_back):
                self._unchecked += 1
                continue
            found = await self._compare_with_refolded(facts, page, raw)
            if found and facts.outdated and {each[2] for each in coordinates} - raw.offsets(facts.shipment_id):
                self._unchecked += 1  # some of its records name another shipment by today's rules
                continue
            self._from_raw += facts.row is not None
            (self._correct if facts.outdated else self._add)(found)

    async def _compare_with_refolded(self, facts: Facts, page: Page, raw: Raw) -> list[Difference]:
        name = facts.shipment_id
        beyond = page.beyond.get(name, frozenset())
        found = compare_raw(facts, raw.refold(name, beyond))
        if found and (elsewhere := await raw.stored_elsewhere(name)):
            return compare_raw(facts, raw.refold(name, beyond, elsewhere))
        return found

    async def _count(self, cursors: Mapping[int, Cursor]) -> None:
        """Check the sums. Retention takes an observation first and its anomaly next: counted again, all is well."""
        counted: dict[int, Counts] = {}
        doubted = list(cursors)
        for again in range(1 + RECOUNTS):
            await asyncio.sleep(POLL_SECONDS if again else 0)
            counted |= await self._counts({partition: cursors[partition] for partition in doubted})
            doubted = [each for each in doubted if _wrong_sums(each, counted[each], cursors[each])]
            if not doubted:
                break
        for partition, counts in counted.items():
            self._records += counts.records
            self._add(_wrong_sums(partition, counts, cursors[partition]))

    async def _counts(self, cursors: Mapping[int, Cursor]) -> dict[int, Counts]:
        self._tell(Reached(None, "counting records", 0, sum(cursor.next_offset for cursor in cursors.values())))
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            await connection.execute("set local transaction_timeout = 0")
            rows = await connection.fetch(_Q["audit_counts"], list(cursors), timeout=COUNT_SECONDS)
        found = {row["raw_partition"]: row for row in rows}
        return {
            partition: msgspec.convert(dict(_unrecovered(found.get(partition), cursor)), Counts)
            for partition, cursor in cursors.items()
        }

    async def _account(self, partition: int, cursor: Cursor, letters: datetime) -> None:
        """Account for every offset between the log's start and the cursor."""
        gone = Gone(letters, datetime.now(UTC) - self._settings.retention)
        tail, heard = self._reader(self._raw, Topic.RAW, partition), self._telling(partition, "accounting for offsets")
        unaccounted = Unaccounted(self._settings, self._pool, self._raw, tail, heard, partition, cursor, gone)
        async for missing in unaccounted.find():
            self._add(
                Difference("cursors", "records", f"{partition}:{offset}, {about or 'a record'}", None, partition)
                for offset, about in missing
            )

    def _correct(self, differences: Iterable[Difference]) -> None:
        """Keep what an older edition read otherwise."""
        for difference in differences:
            self._outdated.add(str(difference.shipment))
            if len(self._corrections) < LISTED:
                self._corrections.append(difference)

    def _add(self, differences: Iterable[Difference]) -> None:
        for difference in differences:
            self._found += 1
            if len(self._differences) < LISTED:
                self._differences.append(difference)


def _wrong_sums(partition: int, counts: Counts, cursor: Cursor) -> list[Difference]:
    return compare_counts(partition, counts, recovered=cursor.recovery > 0)


def _unrecovered(now: Row | None, cursor: Cursor) -> Row:
    """Return what a partition's row of `cursors` says now, if no recovery has touched it since it was `cursor`.

    Raises:
        OperatorError: one has.

    """
    if now is None or now["recovery"] != cursor.recovery or now["recover_until"] is not None:
        raise OperatorError("a recovery began meanwhile: run the audit again when it is done")
    return now
