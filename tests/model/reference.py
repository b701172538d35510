"""The rules of the domain once more, written without looking at the real fold: slow, plain, from scratch each time.

Nothing here is shared with the code under test but the observation as it is read, and the domain's words. Where the
rules leave a choice open, the choice made here is marked "Reading:".
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from itertools import pairwise
from typing import Any

from schemas.observation import Details, Observation, Stamp
from schemas.vocabulary import Source, TimeSource

# --- What may follow what -------------------------------------------------------------------------------------------

FINAL_EVERYWHERE = {"DELIVERED", "RETURNED", "CANCELLED", "SEIZED", "CLAIM_SETTLED"}
NOT_JUMPED_THROUGH = {"CANCELLED", "LOST", "DAMAGED", "NO_DRIVER"}


def chain(text: str) -> list[tuple[str, str]]:
    """Edges of `A > B, C > D`: a comma lists several next ones, of which the last goes on."""
    edges = []
    steps = [[name.strip() for name in step.split(",")] for step in text.split(">")]
    for sources, targets in pairwise(steps):
        edges += [(source, target) for source in sources[-1:] for target in targets]
    return edges


def fan(sources: str, targets: str) -> list[tuple[str, str]]:
    """Edges from each of the sources to each of the targets."""
    return [(source, target) for source in sources.split() for target in targets.split()]


REASSIGNMENT = fan("PICKING_UP PENDING_DELIVERY IN_DELIVERY", "PENDING_PICKUP")

DASH_EXPRESS = [
    *chain("CREATED > ALLOCATING > PENDING_PICKUP > PICKING_UP > PENDING_DELIVERY > IN_DELIVERY > DELIVERED, FAILED"),
    *REASSIGNMENT,
    *fan("CREATED ALLOCATING PENDING_PICKUP PICKING_UP", "CANCELLED"),
]
DASH_LOGISTIC = [
    *chain("CREATED > VERIFIED, NOT_VERIFIED"),
    *chain("NOT_VERIFIED > VERIFIED > PENDING_DELIVERY > IN_DELIVERY > DELIVERED, FAILED"),
    ("FAILED", "PENDING_DELIVERY"),
    *chain("FAILED > RETURNING > RETURNED"),
]
_EXPRESS_OPEN = "CREATED PENDING_PICKUP IN_TRANSIT PENDING_DELIVERY FAILED RETURNING LOST DAMAGED"
KIRIMINAJA_EXPRESS = [
    *chain("CREATED > PENDING_PICKUP > IN_TRANSIT > DELIVERED"),
    *fan("IN_TRANSIT PENDING_DELIVERY", "FAILED"),
    *fan("FAILED", "PENDING_DELIVERY IN_TRANSIT DELIVERED"),
    *fan("PENDING_DELIVERY", "IN_TRANSIT DELIVERED"),
    *fan("IN_TRANSIT PENDING_DELIVERY FAILED DAMAGED", "RETURNING"),
    ("RETURNING", "RETURNED"),
    *[(a, b) for a, b in fan(_EXPRESS_OPEN, "CANCELLED LOST DAMAGED SEIZED") if a != b],
    *fan("LOST DAMAGED", "IN_TRANSIT CLAIM_SETTLED"),
]
KIRIMINAJA_INSTANT = [
    *fan("PENDING_PICKUP", "NO_DRIVER PENDING_DELIVERY"),
    ("NO_DRIVER", "PENDING_DELIVERY"),
    ("PENDING_DELIVERY", "NO_DRIVER"),
    *chain("PENDING_DELIVERY > IN_DELIVERY > DELIVERED"),
    *chain("PENDING_DELIVERY > IN_TRANSIT > DELIVERED"),
    ("IN_DELIVERY", "IN_TRANSIT"),
    ("IN_TRANSIT", "IN_DELIVERY"),
    *fan("PENDING_PICKUP NO_DRIVER PENDING_DELIVERY IN_DELIVERY IN_TRANSIT RETURNING", "CANCELLED"),
    *fan("PENDING_DELIVERY IN_DELIVERY IN_TRANSIT", "RETURNING"),
    ("RETURNING", "RETURNED"),
]

TABLES = {
    ("dash", "express"): tuple(DASH_EXPRESS),
    ("dash", "logistic"): tuple(DASH_LOGISTIC),
    ("kiriminaja", "express"): tuple(KIRIMINAJA_EXPRESS),
    ("kiriminaja", "instant"): tuple(KIRIMINAJA_INSTANT),
}


def is_final(courier: str, service: str, status: str) -> bool:
    return status in FINAL_EVERYWHERE or (status == "FAILED" and (courier, service) == ("dash", "express"))


def _walks(edges: Sequence[tuple[str, str]], start: str, length: int) -> Iterator[list[str]]:
    """Every walk of so many edges, in the written order of the edges."""
    if length == 0:
        yield [start]
        return
    for source, target in edges:
        if source == start:
            for rest in _walks(edges, target, length - 1):
                yield [start, *rest]


@cache
def shortest(edges: tuple[tuple[str, str], ...], start: str, end: str, gate: str | None = None) -> list[str] | None:
    """The shortest legal walk of at least one edge, both ends included; of equal ones the first as written."""
    for length in range(1, 8):
        for walk in _walks(edges, start, length):
            between = walk[1:-1]
            if walk[-1] != end:
                continue
            if end == "CANCELLED" and between:
                continue
            closed = between[:-1] if between and end == "CLAIM_SETTLED" and between[-1] == gate else between
            if not NOT_JUMPED_THROUGH & set(closed):
                return walk
    return None


# --- What a body says ------------------------------------------------------------------------------------------------

DASH_WORDS: dict[str, str | None] = {
    **dict.fromkeys(("QUEUEING", "PREPARING"), "CREATED"),
    **{name: name for name in ("ALLOCATING", "VERIFIED", "NOT_VERIFIED", "PENDING_PICKUP", "PICKING_UP")},
    **{name: name for name in ("PENDING_DELIVERY", "IN_DELIVERY", "FAILED", "RETURNED", "CANCELLED")},
    **dict.fromkeys(("IN_RETURN", "PENDING_RETURN"), "RETURNING"),
    "COMPLETED": "DELIVERED",
    **dict.fromkeys(("PENDING_PAYMENT", "ON_HOLD", "FAILED_IN_RETURN", "DISPOSED")),
}
METHODS: dict[str, str | None] = {
    "processed_packages": "PENDING_PICKUP",
    "shipped_packages": "IN_TRANSIT",
    "problem_packages": "FAILED",
    "finished_packages": "DELIVERED",
    "return_finished_packages": "RETURNED",
    "canceled_packages": "CANCELLED",
    "rejected_packages": "CANCELLED",
    "validated_packages": None,
}
INSTANT_WORDS = {
    "no_driver": "NO_DRIVER",
    "picked_up": "PENDING_DELIVERY",
    "sent": "IN_DELIVERY",
    "delivered": "DELIVERED",
    "return": "RETURNING",
    "returned": "RETURNED",
    "cancel": "CANCELLED",
}


@dataclass(frozen=True)
class Said:
    """What a body says about its status. `times` are those believed."""

    word: str
    known: bool
    status: str | None
    proves: frozenset[str]
    count: int
    times: dict[str, datetime]


def read_dash(body: dict[str, Any], received_at: datetime) -> Said:
    word = body["status"]
    proves = set()
    media = body["media"] if isinstance(body.get("media"), list) else []
    pickup_proof = any(isinstance(entry, dict) and entry.get("type") == "PICKUP_PROOF" for entry in media)
    tracked = isinstance(body.get("trackingURL"), str) and body["trackingURL"] != ""
    express = {"QUEUEING", "ALLOCATING", "PENDING_PICKUP", "PICKING_UP", "CANCELLED"}
    if word in DASH_WORDS and (word in express or tracked or pickup_proof):
        proves.add("express")
    if word in {"PREPARING", "VERIFIED", "NOT_VERIFIED"}:
        proves.add("logistic")
    count = body.get("failedCount")
    odd = isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < 2**31 or count % 1
    names = {"updatedAt", "pickupAt", *([DASH_TIMES[word]] if word in DASH_TIMES else [])}
    return Said(
        word,
        word in DASH_WORDS,
        DASH_WORDS.get(word),
        frozenset(proves),
        0 if odd else int(count or 0),
        _believed_times(body, names, UTC, received_at),
    )


def read_kiriminaja(body: dict[str, Any], received_at: datetime, zone: tzinfo) -> Said:
    """One item's body, whose package repeats nothing that matters here."""
    method = body["method"]
    data: Any = body.get("data", body.get("packages"))
    item = data[0] if isinstance(data, list) else data
    instant = method == "update_instant_packages"
    word = item["status"] if instant else method
    words: dict[str, Any] = INSTANT_WORDS if instant else {**METHODS, "returned_packages": "RETURNED"}
    status = words.get(word)
    if word == "returned_packages" and not (isinstance(item.get("returned_at"), str) and item["returned_at"]):
        status = "RETURNING"
    proven = instant or any(package["service_type"] == "instant" for package in body.get("packages", []))
    names = {"date", *([KIRIMINAJA_TIMES[word]] if word in KIRIMINAJA_TIMES else [])}
    return Said(
        word,
        word in words,
        status,
        frozenset({"instant"} if proven and word in words else ()),
        0,
        _believed_times(item, names, zone, received_at),
    )


PULL_CODES = {
    "100": "IN_TRANSIT",
    "101": "PENDING_PICKUP",
    "105": "CREATED",
    "152": "PENDING_DELIVERY",
    "200": "DELIVERED",
    "300": "CANCELLED",
    "400": "RETURNED",
    "401": "RETURNING",
    "402": "RETURNED",
    "500": "FAILED",
    "555": "SEIZED",
    "701": "LOST",
    "702": "DAMAGED",
    "703": "CLAIM_SETTLED",
    "704": "CLAIM_SETTLED",
}


def read_entry(body: dict[str, Any], received_at: datetime, zone: tzinfo) -> Said:
    """One history entry, with the details of its answer.

    Reading: an entry without a code has the unknown word `null`.
    """
    (entry,) = body["histories"]
    word = "null" if entry["status_code"] is None else str(entry["status_code"])
    status = PULL_CODES.get(word)
    if word == "100" and not body["details"]["shipped_at"]:
        status = "CREATED"
    times = _believed_times(entry, {"created_at"}, zone, received_at)
    return Said(word, word in PULL_CODES, status, frozenset(), 0, times)


def _believed_times(body: dict[str, Any], names: set[str], zone: tzinfo, received_at: datetime) -> dict[str, datetime]:
    times = {}
    for name in names:
        moment = read_moment(body.get(name), zone)
        if moment is not None and moment <= received_at + timedelta(days=1):
            times[name] = moment
    return times


def read_moment(value: object, zone: tzinfo) -> datetime | None:
    """Reading: a date without a clock is no time."""
    if not isinstance(value, str) or len(value) <= len("2025-03-01"):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


# --- The service ----------------------------------------------------------------------------------------------------


def decide_service(courier: str, observations: Sequence[Observation]) -> str:
    proven = proofs(observations)
    if courier == "dash":
        return "express" if "express" in proven else "logistic"
    return "instant" if "instant" in proven else "express"


def proofs(observations: Sequence[Observation]) -> set[str]:
    return {str(service) for one in observations if one.known for service in one.proves}


# --- Order ----------------------------------------------------------------------------------------------------------

OLDEST = datetime.min.replace(tzinfo=UTC)

DASH_TIMES = {"COMPLETED": "completedAt", "FAILED": "failedAt", "CANCELLED": "cancelledAt"}
KIRIMINAJA_TIMES = {
    "shipped_packages": "shipped_at",
    "canceled_packages": "canceled_at",
    "finished_packages": "finished_at",
    "returned_packages": "returned_at",
    "return_finished_packages": "returned_at",
    "rejected_packages": "rejected_at",
    **dict.fromkeys(("no_driver", "picked_up", "sent", "delivered", "return", "returned", "cancel"), "event_date"),
}
LOGISTIC_WORDS = (
    "PREPARING NOT_VERIFIED VERIFIED PENDING_DELIVERY IN_DELIVERY COMPLETED PENDING_RETURN IN_RETURN RETURNED"
)
EXPRESS_WORDS = "QUEUEING ALLOCATING PENDING_PICKUP PICKING_UP PENDING_DELIVERY IN_DELIVERY COMPLETED"
TABLE_ORDER = [
    "CREATED",
    "ALLOCATING",
    "NO_DRIVER",
    "VERIFIED",
    "NOT_VERIFIED",
    "PENDING_PICKUP",
    "PICKING_UP",
    "PENDING_DELIVERY",
    "IN_TRANSIT",
    "IN_DELIVERY",
    "FAILED",
    "DELIVERED",
    "RETURNING",
    "RETURNED",
    "CANCELLED",
    "LOST",
    "DAMAGED",
    "SEIZED",
    "CLAIM_SETTLED",
]
STAGES = {
    0: {"CREATED", "PENDING_PICKUP"},
    1: {"IN_TRANSIT", "PENDING_DELIVERY", "FAILED", "IN_DELIVERY", "NO_DRIVER", "RETURNING", "LOST", "DAMAGED"},
    2: {"DELIVERED", "RETURNED", "CANCELLED", "SEIZED", "CLAIM_SETTLED"},
}


def when(courier: str, service: str, one: Observation) -> Stamp:
    """The time that counts, and where it comes from."""
    names: list[str] = []
    if courier == "dash":
        if one.word in DASH_TIMES:
            names.append(DASH_TIMES[one.word])
        if one.word == "PENDING_DELIVERY" and service == "express":
            names.append("pickupAt")
        names += ["updatedAt", "pickupAt"]
    else:
        if one.word in KIRIMINAJA_TIMES:
            names.append(KIRIMINAJA_TIMES[one.word])
        if one.word.isdigit():
            names.append("created_at")
        names.append("date")
    for name in names:
        if name in one.times:
            return one.times[name]
    return Stamp(one.received_at, TimeSource.RECEIVED)


def dash_position(service: str, one: Observation, time: datetime) -> tuple[Any, ...]:
    if one.word == "FAILED" and one.count >= 1:
        return (one.count, 0, time)
    words = (EXPRESS_WORDS if service == "express" else LOGISTIC_WORDS).split()
    beside_completed = one.word == "FAILED" or (one.word == "CANCELLED" and service == "express")
    word = "COMPLETED" if beside_completed else one.word
    rank = words.index(word) if word in words else -1
    return (one.count, 1, time, rank) if service == "express" else (one.count, 1, rank, time)


def kiriminaja_position(one: Observation, time: datetime) -> tuple[Any, ...]:
    (stage,) = [number for number, statuses in STAGES.items() if one.status in statuses]
    rank = TABLE_ORDER.index(str(one.status))
    return (stage, rank, time) if stage == 0 else (stage, time, rank)


def place(courier: str, service: str, one: Observation) -> tuple[Any, ...]:
    """The position, and behind it what breaks ties. Words without a status stand before all others."""
    time = when(courier, service, one).at
    if one.status is None:
        position: tuple[Any, ...] = (0, time)
    elif courier == "dash":
        position = (1, dash_position(service, one, time))
    else:
        position = (1, kiriminaja_position(one, time))
    pulled_first = 0 if one.source == Source.PULL else 1
    return (position, one.updated_at or OLDEST, pulled_first, one.received_at, one.item, one.reading_digest)


# --- The fold -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judged:
    """How one observation fared. `path` starts with the status it came from and ends with its own; empty: no move."""

    observation: Observation
    place: tuple[Any, ...]
    accepted: bool
    before: str | None
    path: tuple[str, ...] = ()

    @property
    def moved(self) -> bool:
        return self.accepted and (self.before is None or bool(self.path))


@dataclass
class Folded:
    """A fold from scratch. `snapshot` is None while no word with a status is known."""

    service: str
    snapshot: dict[str, Any] | None = None
    judged: list[Judged] = field(default_factory=list)

    def verdict(self, one: Observation) -> Judged:
        (found,) = [judged for judged in self.judged if judged.observation is one]
        return found


def judge(courier: str, service: str, status: str, count: int, one: Observation) -> tuple[bool, list[str]]:
    """Whether the observation may follow, and the way it took there."""
    new = str(one.status)
    edges = TABLES[courier, service]
    own = {name for edge in edges for name in edge}
    if (courier, service) == ("dash", "logistic") and one.count > count:
        to_failed = shortest(edges, status, "FAILED")
        if new == "FAILED":
            onward: list[str] | None = ["FAILED"]
        else:
            onward = shortest(edges, "FAILED", new)
        if to_failed and onward:
            return True, to_failed + onward[1:]
        # Reading: "the same word is a repeat" means the same status (IN_RETURN behind PENDING_RETURN too), since
        # "the same status again is always legal".
        return new == status, []
    if new == status:
        return True, []
    if courier == "kiriminaja" and status == "RETURNING" and new in {"IN_TRANSIT", "PENDING_DELIVERY", "FAILED"}:
        return True, []
    if is_final(courier, service, status):
        return False, []
    if status not in own:
        return (True, [status, new]) if new in own else (False, [])
    path = shortest(edges, status, new, str(one.jumps_through) if one.jumps_through else None)
    return (True, path) if path else (False, [])


LASTING = ("order_id", "awb", "tracking_url", "signed_by", "driver", "carrier", "charges")
OF_THE_STATUS = ("reason", "description", "proofs")


def fold(courier: str, observations: Sequence[Observation]) -> Folded:
    """Fold distinct observations with known words."""
    service = decide_service(courier, observations)
    result = Folded(service)
    details = {name: getattr(Details(), name) for name in (*LASTING, *OF_THE_STATUS)}
    status: str | None = None
    count = 0
    failures = 0
    newest: Observation | None = None
    for one in sorted(observations, key=lambda each: place(courier, service, each)):
        at = place(courier, service, one)
        if one.status is None:
            for name in LASTING:
                details[name] = getattr(one.details, name) or details[name]
            continue
        new = str(one.status)
        path: list[str] = []
        accepted = True
        if status is not None:
            accepted, path = judge(courier, service, status, count, one)
        judged = Judged(one, at, accepted, status, tuple(path))
        result.judged.append(judged)
        if not accepted:
            continue
        if judged.moved:
            failures += "FAILED" in (path[1:] or [new])
            status = new
            for name in OF_THE_STATUS:
                details[name] = getattr(Details(), name)
        for name in (*LASTING, *OF_THE_STATUS):
            details[name] = getattr(one.details, name) or details[name]
        count = one.count
        newest = one
    if newest is not None and status is not None:
        result.snapshot = {
            "service": service,
            "status": status,
            "courier_status": newest.word,
            "failed_count": count if courier == "dash" else failures,
            "occurred": when(courier, service, newest),
            "details": Details(**details),
        }
    return result


# --- From arrival to output -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Arrival:
    """What came of one arrival."""

    outcome: str
    type: str | None = None
    transition: str | None = None
    skipped: tuple[str, ...] = ()
    previous: str | None = None
    resolves: frozenset[str] = frozenset()
    anomaly: str | None = None
    conflict: bool = False


class ReferenceShipment:
    """One shipment by the rules, told everything anew at each arrival."""

    def __init__(self, courier: str) -> None:
        self.courier = courier
        self.version = 0
        self.records: set[bytes] = set()
        self.copies: list[Observation] = []
        self.anomalies: dict[bytes, str] = {}

    def counting(self, copies: Sequence[Observation]) -> list[Observation]:
        """The copy of each reading that counts, of those with a known word: the one received earlier.

        Reading: of copies received at once, the one that sorts first among ties (pulled, then the item's place).
        """
        best: dict[bytes, Observation] = {}
        for one in copies:
            other = best.get(one.reading_digest)
            if one.known and (other is None or _copy_order(one) < _copy_order(other)):
                best[one.reading_digest] = one
        return list(best.values())

    def fold(self) -> Folded:
        return fold(self.courier, self.counting(self.copies))

    def arrive(self, one: Observation, anomaly_id: str) -> Arrival:
        before = self.fold()
        before_proofs = proofs(self.copies)
        again = one.record_digest in self.records or any(
            one.reading_digest == other.reading_digest for other in self.copies
        )
        twin = one.source == Source.PULL and (
            self._status_and_time_are_there(one) or self._confirms_the_end(one, before)
        )
        self.records.add(one.record_digest)
        self.copies.append(one)
        after = self.fold()
        arrival = self._decide(one, before, after, again=again, twin=twin)
        if arrival.outcome == "event":
            self.version += 1
        if arrival.anomaly == "illegal_transition":
            self.anomalies[one.reading_digest] = anomaly_id
        conflict = len(proofs(self.copies)) > 1 and len(before_proofs) <= 1
        return Arrival(**{**arrival.__dict__, "conflict": conflict})

    def _confirms_the_end(self, one: Observation, before: Folded) -> bool:
        """Reading: a pulled status equal to a final current one says nothing new, whatever its time."""
        if before.snapshot is None or before.snapshot["status"] != one.status:
            return False
        service = decide_service(self.courier, self.counting([*self.copies, one]))
        return is_final(self.courier, service, str(one.status))

    def _status_and_time_are_there(self, one: Observation) -> bool:
        if one.status is None:
            return False
        others = self.counting(self.copies)
        service = decide_service(self.courier, [*others, one])
        mine = when(self.courier, service, one).at
        return any(other.status == one.status and when(self.courier, service, other).at == mine for other in others)

    def _decide(self, one: Observation, before: Folded, after: Folded, *, again: bool, twin: bool) -> Arrival:
        changed = before.snapshot != after.snapshot
        if again:
            return self._corrected(before, after) if changed else Arrival("duplicate")
        if not one.known:
            return Arrival("anomaly", anomaly="unknown_status")
        if twin and not changed:
            return Arrival("duplicate")
        if after.snapshot is None:
            return Arrival("unchanged")
        previous = before.snapshot["status"] if before.snapshot else None
        if one.status is None:
            if before.service != after.service:
                return self._corrected(before, after)
            return self._event("shipment.updated", before, after)
        mine = after.verdict(one)
        if self._in_turn(mine, previous, before, after):
            if not mine.moved:
                return self._event("shipment.updated", before, after)
            transition = self._transition(after.service, mine)
            return self._event("shipment.status_changed", before, after, transition, mine.path[1:-1])
        if changed:
            return self._corrected(before, after)
        if mine.accepted:
            return self._event("shipment.history_added", before, after)
        return Arrival("anomaly", anomaly="illegal_transition")

    def _in_turn(self, mine: Judged, previous: str | None, before: Folded, after: Folded) -> bool:
        service = after.service
        behind = all(
            place(self.courier, service, judged.observation) < mine.place for judged in before.judged if judged.accepted
        )
        last = [judged for judged in after.judged if judged.accepted][-1]
        return behind and mine.accepted and last is mine and mine.before == previous

    def _transition(self, service: str, mine: Judged) -> str:
        if mine.before is None:
            return "initial"
        new = mine.path[-1]
        if new in {"PENDING_DELIVERY", "IN_DELIVERY", "IN_TRANSIT"} and {"FAILED", "LOST"} & set(mine.path[:-1]):
            return "recovery"
        if (self.courier, service) == ("dash", "express") and set(REASSIGNMENT) & set(pairwise(mine.path)):
            return "reassignment"
        return "return" if new == "RETURNING" else "forward"

    def _corrected(self, before: Folded, after: Folded) -> Arrival:
        assert before.snapshot is not None
        assert after.snapshot is not None
        moved = before.snapshot["status"] != after.snapshot["status"]
        return self._event("shipment.corrected", before, after, "correction" if moved else None)

    def _event(
        self,
        type_: str,
        before: Folded,
        after: Folded,
        transition: str | None = None,
        skipped: Sequence[str] = (),
    ) -> Arrival:
        """Reading: every event, not only a correction, shows the anomalies it settles."""
        refused = {judged.observation.reading_digest for judged in before.judged if not judged.accepted}
        accepted = {judged.observation.reading_digest for judged in after.judged if judged.accepted}
        settled = frozenset(self.anomalies[digest] for digest in refused & accepted if digest in self.anomalies)
        previous = before.snapshot["status"] if before.snapshot else None
        return Arrival("event", type_, transition, tuple(skipped), previous, settled)


def _copy_order(one: Observation) -> tuple[Any, ...]:
    return (one.received_at, one.source != Source.PULL, one.item)
