"""Trying bodies: what the door, the puller and the processor would make of them, by their own functions. No I/O."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from ingest import problems
from ingest.pieces import pieces, tokens
from ingest.records import RawRecords
from operators.shared.personal import masked
from operators.trial.parts import MAX_PROBES, Part, Samples, parts_of, paths_of
from operators.trial.places import begin_of, fault_in, place_in
from operators.trial.report import (
    Body,
    DeadLetter,
    Placed,
    Published,
    Said,
    Trial,
    TriedRecord,
    TriedShipment,
    TriedWebhook,
)
from processor.core.fold import Entry
from processor.core.messages import messages
from processor.core.plan import ObservationRow, Planner
from processor.core.reading import Read, observe, read
from processor.core.state import Shipment
from runtime.settings import Settings
from runtime.values import MASK
from schemas.couriers import COURIERS, Courier
from schemas.couriers.base import NotFound, WebhookItem
from schemas.couriers.pulling import news
from schemas.observation import PERSONAL, Observation
from schemas.partitioning import partition_of
from schemas.records import NewRecord, Provenance, RawRecord, UnreadableError
from schemas.shipment_ids import shipment_id
from schemas.times import format_time, milliseconds
from schemas.topics import Topic
from schemas.vocabulary import AnomalyKind, Outcome, Source

EXPLAINED: Final = 50
"""Records whose parts are told. A body may have thousands of items, which are much alike."""

APART: Final = timedelta(seconds=1)
"""How long after one file the next is received."""

ACCEPTED: Final = 200


def samples_of(courier: Courier, bodies: Iterable[bytes]) -> Samples:
    """Return the first different values that a courier's samples have at each path of the records they become."""
    found: dict[str, list[Any]] = {}
    for body in bodies:
        for piece in pieces(courier, body, tokens(body)):
            try:
                value = msgspec.json.decode(piece.value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue
            for path, each in paths_of(value):
                held = found.setdefault(path, [])
                if len(held) < MAX_PROBES and each not in held:
                    held.append(each)
    return found


def readers_of(bodies: Iterable[Body], settings: Settings, received_at: datetime) -> list[str]:
    """Return the couriers whose reading gives an observation of every record of these bodies."""
    read_by = set(COURIERS)
    for body in bodies:
        read_by = {name for name in read_by if _reads(COURIERS[name], body.content, settings, received_at)}
    return sorted(read_by)


def _reads(courier: Courier, body: bytes, settings: Settings, received_at: datetime) -> bool:
    provenance = Provenance(courier=courier.name, received_at=received_at)
    try:
        for piece in pieces(courier, body, tokens(body)):
            observe(piece.value, provenance, settings.assumed_zone)
    except UnreadableError:
        return False
    return True


def try_webhooks(bench: "Bench", bodies: Sequence[Body]) -> Trial:
    """Return what bodies would do that come as webhooks, one after the other."""
    limit = bench.settings.ingest_max_body_bytes
    for body in bodies:
        size, content = len(body.content), body.content
        problem = problems.BODY_TOO_LARGE if size > limit else None if content else problems.EMPTY_BODY
        if problem is not None:
            bench.refuse(body, problem.status, problem.detail)
            continue
        webhook = bench.provenance(Source.PUSH)
        bench.take(body, RawRecords(pieces(bench.courier, content, tokens(content)), webhook), ACCEPTED)
    return bench.trial()


def try_answers(bench: "Bench", bodies: Sequence[Body], reference: str) -> Trial:
    """Return what bodies would do that the courier's API gives as answers about one shipment, one after the other."""
    tracking = bench.courier.tracking
    assert tracking is not None
    for body in bodies:
        try:
            found = tracking.pieces(body.content, reference)
        except UnreadableError as error:
            bench.refuse(body, None, f"this is no answer about {reference}: {error.reason}, {error.detail}")
            continue
        if isinstance(found, NotFound):
            bench.refuse(body, None, "the courier knows no such shipment")
            continue
        fresh = bench.news(found, reference)
        bench.take(body, fresh, None, unappended=len(found) - len(fresh))
    return bench.trial()


class Bench:
    """A trial in the making: what the bodies taken so far add up to."""

    def __init__(
        self, courier: Courier, settings: Settings, samples: Samples, began: datetime, *, show_personal: bool = False
    ) -> None:
        """Begin with nothing known. The first body is received when it `began`, each other `APART` from the last."""
        self.courier = courier
        self.settings = settings
        self._samples = samples
        self._received_at = began
        self._show_personal = show_personal
        limit = settings.shipment_max_observations
        self._planner = Planner({}, settings.topic(Topic.RAW), began, limit=limit)
        self._names: dict[tuple[bytes, datetime, int], str] = {}
        self._first: dict[bytes, str] = {}
        self._states: dict[str, dict[str, Any]] = {}
        self._webhooks: list[TriedWebhook] = []
        self._records = 0

    def provenance(self, source: Source) -> Provenance:
        """Return what the records of the next body share."""
        return Provenance(
            courier=self.courier.name,
            account=self.settings.account,
            received_at=self._received_at,
            source=source,
            content_type="application/json",
        )

    def news(self, found: Sequence[WebhookItem], reference: str) -> list[NewRecord]:
        """Return the records of an answer that say what is not known yet."""
        name = shipment_id(self.courier.name, self.settings.account, reference)
        shipment = self._planner.plan.shipments.get(name)
        known = shipment.records.values() if shipment else ()
        zone = self.settings.assumed_zone(self.courier.name, Source.PULL)
        fresh = news(self.courier, found, known, self.provenance(Source.PULL), zone)
        stamp = milliseconds(self._received_at)
        return [NewRecord(name.encode(), piece.value, placed.headers(), stamp) for piece, placed in fresh]

    def refuse(self, body: Body, answer: int | None, why: str) -> None:
        """Note a body that leaves no records."""
        self._webhooks.append(TriedWebhook(body.file, len(body.content), format_time(self._received_at), answer, why))
        self._received_at += APART

    def take(self, body: Body, records: Iterable[NewRecord], answer: int | None, unappended: int = 0) -> None:
        """Take the records of the next body."""
        start, tried = 0, []
        for place, record in enumerate(records, start=1):
            at = begin_of(body.content, record.value, start)
            tried.append(self._try(body.content, record, f"{len(self._webhooks) + 1}:{place}", at))
            start = start if at is None else at + 1
        size, received = len(body.content), format_time(self._received_at)
        self._webhooks.append(TriedWebhook(body.file, size, received, answer, None, tuple(tried), unappended))
        self._received_at += APART

    def trial(self) -> Trial:
        """Return all of it."""
        return Trial(
            self.courier.name,
            tuple(self._webhooks),
            tuple(self._shipment(each) for each in self._planner.plan.shipments.values()),
            max(0, self._records - EXPLAINED),
        )

    def _try(self, body: bytes, new: NewRecord, name: str, at: int | None) -> TriedRecord:
        """Read and apply a record as the processor does."""
        partitions = self.settings.topic_partitions
        partition = partition_of(new.key or b"", partitions)
        self._records += 1
        record = RawRecord(partition, self._records - 1, new.key, new.value, tuple(new.headers), new.timestamp_ms)
        reading = read(record, self.settings.assumed_zone, partitions)
        plan, before = self._planner.plan, len(self._planner.plan.outputs)
        self._planner.add(reading)
        published = tuple(self._published(before))
        headers = {header: (value or b"").decode() for header, value in new.headers}
        tried = TriedRecord(
            name=name,
            item=headers["item"],
            key=(new.key or b"").decode(errors="replace"),
            partition=partition,
            bytes=len(new.value),
            at=None if at is None else place_in(body, at),
            outcome="dead_letter",
            published=published,
        )
        tried = msgspec.structs.replace(tried, parts=self._parts(new.value, Source(headers["source"])))
        if not isinstance(reading, Read):
            return msgspec.structs.replace(tried, dead_letter=_dead_letter(body, new.value, at, reading.error))
        said, row = reading.observation, plan.observations[-1]
        self._names[_identity(said)] = name
        why = self._why(row)
        for digest in (said.record_digest, said.reading_digest):
            self._first.setdefault(digest, name)
        return msgspec.structs.replace(tried, said=self._told(said), outcome=row.outcome, why=why)

    def _parts(self, value: bytes, source: Source) -> tuple[Part, ...] | None:
        if self._records > EXPLAINED:
            return None
        provenance, zone_of = self.provenance(source), self.settings.assumed_zone
        received = format_time(self._received_at)
        found = parts_of(value, lambda each: observe(each, provenance, zone_of), self._samples, received)
        if found is None or self._show_personal:
            return found
        return tuple(_masked(part) for part in found)

    def _published(self, since: int) -> Iterable[Published]:
        for output in self._planner.plan.outputs[since:]:
            for message in messages(output):
                if message.topic is Topic.DEAD_LETTERS or message.value is None:
                    continue
                value = msgspec.json.decode(message.value)
                value = value if self._show_personal else masked(value)
                if message.topic is Topic.STATE:
                    self._states[value["shipment_id"]] = value
                else:
                    yield Published(message.topic, value)

    def _told(self, said: Observation) -> Said:
        details = msgspec.to_builtins(said.details)
        if not self._show_personal:
            details = {name: MASK if name in PERSONAL else each for name, each in details.items()}
        return Said(
            said.shipment_id,
            said.word,
            said.known,
            said.status,
            said.proves,
            said.hints,
            said.count,
            {name: format_time(stamp.at) for name, stamp in said.times.items()},
            format_time(said.updated_at) if said.updated_at else None,
            details,
        )

    def _why(self, row: ObservationRow) -> str | None:
        """Say more of an outcome that is no event."""
        said = row.observation
        match row.outcome:
            case Outcome.DUPLICATE:
                names = [self._first[each] for each in (said.record_digest, said.reading_digest) if each in self._first]
                return f"{names[0]} says it already" if names else "its status and time are known, and it adds nothing"
            case Outcome.UNCHANGED:
                return "no word with a status has told of this shipment yet"
            case Outcome.ANOMALY if row.anomaly_kind is AnomalyKind.UNKNOWN_STATUS:
                return f"{said.word} is none of {self.courier.name}'s words that are known here"
            case Outcome.ANOMALY if row.anomaly_kind is AnomalyKind.ILLEGAL_TRANSITION:
                shipment = self._planner.plan.shipments[said.shipment_id]
                entry = shipment.timeline.find(said.reading_digest)
                before = entry.verdict.before if entry and entry.verdict else None
                return f"{said.status} may not follow {before}"
            case _:
                return row.anomaly_kind

    def _shipment(self, shipment: Shipment) -> TriedShipment:
        return TriedShipment(
            shipment.shipment_id,
            shipment.service,
            tuple(sorted(shipment.proven)),
            tuple(sorted(shipment.hinted)),
            tuple(self._placed(shipment, entry) for entry in shipment.entries),
            self._states.get(shipment.shipment_id),
        )

    def _placed(self, shipment: Shipment, entry: Entry) -> Placed:
        said, verdict = entry.observation, entry.verdict
        occurred = self.courier.occurred(said, shipment.service)
        return Placed(
            self._names[_identity(said)],
            said.word,
            said.status,
            format_time(occurred.at),
            occurred.source,
            tuple(format_time(each) if isinstance(each, datetime) else each for each in entry.key[0]),
            verdict.accepted if verdict else None,
            verdict.before if verdict else None,
            verdict.moved if verdict else False,
            verdict.passed if verdict else (),
        )


def _identity(said: Observation) -> tuple[bytes, datetime, int]:
    """Tell an observation from every other of a trial."""
    return said.record_digest, said.received_at, said.item


def _dead_letter(body: bytes, value: bytes, at: int | None, error: UnreadableError) -> DeadLetter:
    """Say what makes a record unreadable, and where in its body: at its fault, or where it begins."""
    fault = fault_in(value, error)
    if at is not None and fault is not None and body.startswith(value, at):
        at += fault
    return DeadLetter(error.reason, error.detail, None if at is None else place_in(body, at))


def _masked(part: Part) -> Part:
    """Hide what may tell of persons: what is not taken may, whatever it is."""
    hidden = part.personal and part.value not in (None, "", [], {}, 0, "0", False)
    return msgspec.structs.replace(part, value=MASK) if hidden else part
