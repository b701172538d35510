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

FINAL_EVERYWHERE = {"DELIVERED", "RETURNED", "CANCELLED", "SEIZED", "CLAIM_SETTLED", "DISPOSED"}
NOT_JUMPED_THROUGH = {"LOST", "DAMAGED", "NO_DRIVER"}
THE_WAY_BACK = {"RETURNING", "RETURNED", "DISPOSED"}


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


REASSIGNMENT = fan("PICKING_UP PENDING_DELIVERY IN_DELIVERY FAILED", "PENDING_PICKUP")

DASH_EXPRESS = [
    *chain("CREATED > ALLOCATING > PENDING_PICKUP > PICKING_UP > PENDING_DELIVERY > IN_DELIVERY > DELIVERED, FAILED"),
    *REASSIGNMENT,
    *chain("FAILED > RETURNING > RETURNED, DISPOSED"),
    *chain("FAILED > RETURNED, DISPOSED"),
    *fan("CREATED ALLOCATING PENDING_PICKUP PICKING_UP", "CANCELLED"),
]
DASH_LOGISTIC = [
    *chain("CREATED > VERIFIED, NOT_VERIFIED"),
    *chain("NOT_VERIFIED > VERIFIED > PENDING_DELIVERY > IN_DELIVERY > DELIVERED, FAILED"),
    *chain("VERIFIED > PENDING_PICKUP > PENDING_DELIVERY"),
    ("FAILED", "PENDING_DELIVERY"),
    ("FAILED", "PENDING_PICKUP"),
    *chain("FAILED > RETURNING > RETURNED, DISPOSED"),
    *fan("CREATED NOT_VERIFIED VERIFIED PENDING_PICKUP PENDING_DELIVERY FAILED", "CANCELLED"),
]
_EXPRESS_OPEN = "CREATED PENDING_PICKUP IN_TRANSIT PENDING_DELIVERY FAILED RETURNING LOST DAMAGED"
_OPENED_AGAIN = [("DELIVERED", "RETURNED"), *fan("CANCELLED", "DELIVERED RETURNED")]
KIRIMINAJA_EXPRESS = [
    *chain("CREATED > PENDING_PICKUP > IN_TRANSIT > DELIVERED"),
    *fan("IN_TRANSIT PENDING_DELIVERY", "FAILED"),
    *fan("FAILED", "PENDING_DELIVERY IN_TRANSIT DELIVERED"),
    *fan("PENDING_DELIVERY", "IN_TRANSIT DELIVERED"),
    *fan("LOST DAMAGED", "IN_TRANSIT"),
    *fan("IN_TRANSIT PENDING_DELIVERY FAILED DAMAGED", "RETURNING"),
    ("RETURNING", "RETURNED"),
    ("RETURNING", "DELIVERED"),
    *[(a, b) for a, b in fan(_EXPRESS_OPEN, "CANCELLED LOST DAMAGED SEIZED DISPOSED") if a != b],
    *fan("LOST DAMAGED", "CLAIM_SETTLED"),
    *_OPENED_AGAIN,
]
KIRIMINAJA_INSTANT = [
    *fan("PENDING_PICKUP", "NO_DRIVER PENDING_DELIVERY"),
    ("NO_DRIVER", "PENDING_DELIVERY"),
    ("PENDING_DELIVERY", "NO_DRIVER"),
    *chain("PENDING_DELIVERY > IN_DELIVERY > DELIVERED"),
    *chain("PENDING_DELIVERY > IN_TRANSIT > DELIVERED"),
    ("IN_DELIVERY", "IN_TRANSIT"),
    ("IN_TRANSIT", "IN_DELIVERY"),
    *fan("PENDING_DELIVERY IN_DELIVERY IN_TRANSIT", "FAILED"),
    *fan("FAILED", "PENDING_DELIVERY IN_DELIVERY IN_TRANSIT DELIVERED RETURNING"),
    *fan("PENDING_PICKUP NO_DRIVER PENDING_DELIVERY IN_DELIVERY IN_TRANSIT FAILED RETURNING", "CANCELLED"),
    *fan("PENDING_DELIVERY IN_DELIVERY IN_TRANSIT", "RETURNING"),
    *fan("RETURNING", "RETURNED DELIVERED"),
    *_OPENED_AGAIN,
]

TABLES = {
    ("dash", "express"): tuple(DASH_EXPRESS),
    ("dash", "logistic"): tuple(DASH_LOGISTIC),
    ("kiriminaja", "express"): tuple(KIRIMINAJA_EXPRESS),
    ("kiriminaja", "instant"): tuple(KIRIMINAJA_INSTANT),
}


def is_final(courier: str, service: str, status: str) -> bool:
    return status in FINAL_EVERYWHERE or (status == "FAILED" and (courier, service) == ("dash", "express"))


def _walks(edges: Sequence[tuple[str, str]], walk: list[str], length: int) -> Iterator[list[str]]:
    """Every way to go on from a walk by so many edges, in the written order of the edges, none in circles."""
    if length == 0:
        yield walk
        return
    for source, target in edges:
        if source == walk[-1] and (target not in walk or (length == 1 and target == walk[0])):
            yield from _walks(edges, [*walk, target], length - 1)


@cache
def shortest(courier: str, service: str, start: str, end: str, gate: str | None = None) -> list[str] | None:
    """The shortest legal walk of at least one edge, both ends included; of equal ones the first as written."""
    edges = TABLES[courier, service]
    for length in range(1, 8):
        for walk in _walks(edges, [start], length):
            if walk[-1] == end and (length == 1 or _is_jump(courier, service, walk, gate)):
                return walk
    return None


def _is_jump(courier: str, service: str, walk: Sequence[str], gate: str | None) -> bool:
    start, *between, end = walk
    if end == "CANCELLED" or is_final(courier, service, start):
        return False
    if end == "CLAIM_SETTLED" and between[-1] == gate:
        between = between[:-1]
    through = {status for status in between if is_final(courier, service, status)}
    if end in THE_WAY_BACK and (courier, service) == ("dash", "express"):
        through -= {"FAILED"}
    return not through and not NOT_JUMPED_THROUGH & set(between)


# --- What a body says ------------------------------------------------------------------------------------------------

DASH_WORDS: dict[str, str | None] = {
    **dict.fromkeys(("QUEUEING", "PREPARING"), "CREATED"),
    **{name: name for name in ("ALLOCATING", "VERIFIED", "NOT_VERIFIED", "PICKING_UP", "PENDING_DELIVERY")},
    **{name: name for name in ("IN_DELIVERY", "FAILED", "RETURNED", "DISPOSED")},
    **dict.fromkeys(("PENDING_PICKUP", "PENDING_PICKING_UP"), "PENDING_PICKUP"),
    **dict.fromkeys(("IN_RETURN", "PENDING_RETURN"), "RETURNING"),
    **dict.fromkeys(("CANCELLED", "EXPIRED"), "CANCELLED"),
    "COMPLETED": "DELIVERED",
    **dict.fromkeys(("PENDING_PAYMENT", "ON_HOLD", "FAILED_IN_RETURN", "RETURN_TO_HUB", "ARRIVED_AT_PICKUP_POINT")),
    **dict.fromkeys(("ARRIVED_AT_DESTINATION", "ARRIVED_AT_RETURN_POINT", "ARRIVED_AT_HUB")),
}
METHODS: dict[str, str | None] = {
    "processed_packages": "PENDING_PICKUP",
    "shipped_packages": "IN_TRANSIT",
    "problem_packages": "FAILED",
    "finished_packages": "DELIVERED",
    "returned_packages": "RETURNED",
    "return_finished_packages": "RETURNED",
    "canceled_packages": "CANCELLED",
    "rejected_packages": "CANCELLED",
    "validated_packages": None,
}
INSTANT_WORDS: dict[str, str | None] = {
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
    """What a body says about its status. `read` are all times that may count, `times` those believed."""

    reference: str
    word: str
    known: bool
    status: str | None
    proves: frozenset[str]
    count: int
    read: tuple[tuple[str, datetime | None], ...]
    times: dict[str, datetime]


def stripped(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def whole_number(value: object) -> object:
    return int(value) if isinstance(value, str) and value and set(value) <= set("0123456789") else value


def read_dash(body: dict[str, Any], received_at: datetime) -> Said:
    word = body["status"]
    proves = set()
    media = body["media"] if isinstance(body.get("media"), list) else []
    pickup_proof = any(isinstance(entry, dict) and entry.get("type") == "PICKUP_PROOF" for entry in media)
    tracked = isinstance(body.get("trackingURL"), str) and body["trackingURL"] != ""
    if word in DASH_WORDS and (word in {"ALLOCATING", "PICKING_UP"} or tracked or pickup_proof):
        proves.add("express")
    if word in {"PREPARING", "VERIFIED", "NOT_VERIFIED", "PENDING_PICKING_UP"}:
        proves.add("logistic")
    count: Any = whole_number(body.get("failedCount"))
    odd = isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < 2**31 or count % 1
    names = {"updatedAt", "pickupAt", *([DASH_TIMES[word]] if word in DASH_TIMES else [])}
    return Said(
        stripped(body["deliveryID"]),
        word,
        word in DASH_WORDS,
        DASH_WORDS.get(word),
        frozenset(proves),
        0 if odd else int(count or 0),
        *_times(body, names, UTC, received_at),
    )


def listed(value: Any) -> list[Any]:
    """A list, or one object for a list of one, or an object of digits for the list of its values."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and value and all(set(name) <= set("0123456789") and name for name in value):
        return [value[name] for name in sorted(value, key=int)]
    return [] if value in (None, "") else [value]


def pairs(body: dict[str, Any]) -> list[tuple[Any, Any]]:
    """The items of a body, each with its package; packages without an item behind them.

    Reading: of two that both name an order_id the AWB tells nothing, as it is with a single item and package.
    """
    items, packages = listed(body.get("data")), listed(body.get("packages"))
    if len(items) == len(packages) == 1 and isinstance(items[0], dict) and isinstance(packages[0], dict):
        ours, theirs = _order(items[0]), _order(packages[0])
        if not ours or not theirs or ours == theirs:
            return [(items[0], packages[0])]
    found = []
    alone = list(range(len(packages)))
    for item in items:
        at = next((at for at, package in enumerate(packages) if _same_order(item, package)), None)
        if at is None:
            at = next((at for at, package in enumerate(packages) if _same_awb(item, package)), None)
        if at in alone:
            alone.remove(at)
        found.append((item, None if at is None else packages[at]))
    return [*found, *((None, packages[at]) for at in alone)]


def _order(part: Any) -> Any:
    value = part.get("order_id")
    return value.strip() if isinstance(value, str) else value


def _same_order(item: Any, package: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(package, dict):
        return False
    return stripped(item.get("order_id")) != "" and stripped(item.get("order_id")) == stripped(package.get("order_id"))


def _same_awb(item: Any, package: Any) -> bool:
    if not isinstance(item, dict) or not isinstance(package, dict) or (_order(item) and _order(package)):
        return False
    awb = stripped(item.get("awb")).casefold()
    return awb != "" and awb == stripped(package.get("awb")).casefold()


def read_kiriminaja(body: dict[str, Any], received_at: datetime, zone: tzinfo) -> Said:
    """One item's body, with its package."""
    ((item, package),) = pairs(body)
    item, package = item or {}, package or {}
    method = body["method"] + ("s" if body["method"].endswith("_package") else "")
    instant = method == "update_instant_packages"
    both = {**package, **{name: value for name, value in item.items() if value not in (None, "", [], {})}}
    for name in ("order_id", "awb"):
        given = [part[name] for part in (item, package) if part.get(name) is not None]
        both[name] = next((value for value in given if not isinstance(value, str) or value.strip()), None)
    word = item["status"] if instant else method
    words = INSTANT_WORDS if instant else METHODS
    if read_moment_of_a_date(both.get("returned_at"), zone) is None:
        both["returned_at"] = None
    status = words.get(word)
    if method == "returned_packages" and both["returned_at"] is None:
        status = "RETURNING"
    same_day = str(package.get("service_type")).lower() in {"instant", "same_day", "sameday"}
    names = {*(["event_date"] if instant else KIRIMINAJA_TIMES.get(word, []))}
    complete = len({"shipped_at", "finished_at", "returned_at", "rejected_at"} & set(item)) >= 2
    if word == "processed_packages" or not complete:
        names.add("date")
    return Said(
        stripped(both["order_id"] or both["awb"]),
        word,
        word in words,
        status,
        frozenset({"instant"} if (instant or same_day) and word in words else ()),
        0,
        *_times(both, names, zone, received_at),
    )


PULL_CODES: dict[str, str | None] = {
    "105": "CREATED",
    **dict.fromkeys(("101", "102", "110"), "PENDING_PICKUP"),
    "152": "PENDING_DELIVERY",
    **dict.fromkeys(("100", "103", "104", "106"), "IN_TRANSIT"),
    **dict.fromkeys(("500", "301", "310", "311"), "FAILED"),
    "200": "DELIVERED",
    **dict.fromkeys(("401", "403", "404"), "RETURNING"),
    **dict.fromkeys(("402", "400"), "RETURNED"),
    "300": "CANCELLED",
    "701": "LOST",
    "702": "DAMAGED",
    "555": "SEIZED",
    **dict.fromkeys(("703", "704"), "CLAIM_SETTLED"),
    "333": "DISPOSED",
    **dict.fromkeys(["107", "210", "211", "302", "350", "405", "406", "901", "902", "903", "904", "905"]),
}


def read_entry(body: dict[str, Any], received_at: datetime, zone: tzinfo) -> Said:
    """One history entry, with the details of its answer.

    Reading: an entry without a code has the unknown word `null`.
    """
    (entry,) = body["histories"]
    word = "null" if entry["status_code"] is None else str(entry["status_code"])
    status = PULL_CODES.get(word)
    if word == "100":
        shipped = read_moment_of_a_date(body["details"].get("shipped_at"), zone)
        own = read_moment(entry["created_at"], zone)
        if shipped is None or (own is not None and own < shipped.replace(second=0, microsecond=0)):
            status = "CREATED"
    times = _times(entry, {"created_at"}, zone, received_at)
    return Said(stripped(body["order_id"]), word, word in PULL_CODES, status, frozenset(), 0, *times)


def _times(
    body: dict[str, Any], names: set[str], zone: tzinfo, received_at: datetime
) -> tuple[tuple[tuple[str, datetime | None], ...], dict[str, datetime]]:
    read = {name: read_moment(body.get(name), zone) for name in names}
    believed = {
        name: moment
        for name, moment in read.items()
        if moment is not None and moment <= received_at + timedelta(days=1)
    }
    return tuple(sorted(read.items())), believed


def read_moment(value: object, zone: tzinfo) -> datetime | None:
    """Reading: a date without a clock is no time."""
    if not isinstance(value, str) or len(value) <= len("2025-03-01"):
        return None
    try:
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def read_moment_of_a_date(value: object, zone: tzinfo) -> datetime | None:
    """A zero date says nothing."""
    moment = read_moment(value, zone)
    return moment if moment and moment >= datetime(2000, 1, 1, tzinfo=UTC) else None


# --- The service ----------------------------------------------------------------------------------------------------


def decide_service(courier: str, observations: Sequence[Observation]) -> str:
    """What every observation with a known word proves, refused or not, and where nothing does what it hints at."""
    proven = proofs(observations)
    if courier != "dash":
        return "instant" if "instant" in proven else "express"
    if "express" in proven:
        return "express"
    words = {one.word for one in observations if one.known}
    hinted = words & {"QUEUEING", "PENDING_PICKUP", "CANCELLED", "EXPIRED"}
    unmarked = words & {"PENDING_DELIVERY", "IN_DELIVERY", "COMPLETED", "FAILED"}
    return "express" if hinted and not unmarked and "logistic" not in proven else "logistic"


def proofs(observations: Sequence[Observation]) -> set[str]:
    return {str(service) for one in observations if one.known for service in one.proves}


# --- Order ----------------------------------------------------------------------------------------------------------

OLDEST = datetime.min.replace(tzinfo=UTC)

DASH_TIMES = {"COMPLETED": "completedAt", "FAILED": "failedAt", "CANCELLED": "cancelledAt"}
KIRIMINAJA_TIMES = {
    "shipped_packages": ["shipped_at"],
    "finished_packages": ["finished_at"],
    "canceled_packages": ["canceled_at", "rejected_at"],
    "rejected_packages": ["rejected_at"],
    "returned_packages": ["returned_at", "return_finished_at"],
    "return_finished_packages": ["returned_at", "return_finished_at"],
    "problem_packages": ["problem_at"],
}
LOGISTIC_WORDS = """QUEUEING,PREPARING NOT_VERIFIED VERIFIED PENDING_PICKUP,PENDING_PICKING_UP PENDING_DELIVERY
    IN_DELIVERY COMPLETED,CANCELLED,EXPIRED,FAILED PENDING_RETURN IN_RETURN RETURNED DISPOSED"""
EXPRESS_WORDS = """QUEUEING ALLOCATING PENDING_PICKUP PICKING_UP PENDING_DELIVERY IN_DELIVERY
    COMPLETED,FAILED,CANCELLED,EXPIRED PENDING_RETURN IN_RETURN RETURNED DISPOSED"""
TABLE_ORDER = [
    *("CREATED", "ALLOCATING", "NO_DRIVER", "VERIFIED", "NOT_VERIFIED", "PENDING_PICKUP", "PICKING_UP"),
    *("PENDING_DELIVERY", "IN_TRANSIT", "IN_DELIVERY", "FAILED", "DELIVERED", "RETURNING", "RETURNED", "CANCELLED"),
    *("LOST", "DAMAGED", "SEIZED", "CLAIM_SETTLED", "DISPOSED"),
]
STAGES = {
    0: {"CREATED", "PENDING_PICKUP"},
    1: {"IN_TRANSIT", "PENDING_DELIVERY", "FAILED", "IN_DELIVERY", "NO_DRIVER", "RETURNING", "LOST", "DAMAGED"},
    2: {"DELIVERED", "RETURNED", "CANCELLED", "SEIZED", "CLAIM_SETTLED", "DISPOSED"},
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
        names += [*KIRIMINAJA_TIMES.get(one.word, []), "event_date", "created_at", "date"]
    for name in names:
        if name in one.times:
            return one.times[name]
    return Stamp(one.received_at, TimeSource.RECEIVED)


def dash_position(service: str, one: Observation, time: datetime) -> tuple[Any, ...]:
    if one.word == "FAILED" and one.count >= 1:
        return (one.count, 0, time)
    order = (EXPRESS_WORDS if service == "express" else LOGISTIC_WORDS).split()
    rank = next((place for place, words in enumerate(order) if one.word in words.split(",")), -1)
    return (one.count, 1, time, rank) if service == "express" else (one.count, 1, rank, time)


def kiriminaja_position(one: Observation, time: datetime) -> tuple[Any, ...]:
    (stage,) = [number for number, statuses in STAGES.items() if one.status in statuses]
    rank = TABLE_ORDER.index(str(one.status))
    in_its_answer = one.item if one.source == Source.PULL else float("inf")
    return (stage, rank, time, in_its_answer) if stage == 0 else (stage, time, in_its_answer, rank)


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
    own = {name for edge in TABLES[courier, service] for name in edge}
    if (courier, service) == ("dash", "logistic") and one.count > count:
        to_failed = shortest(courier, service, status, "FAILED")
        onward = ["FAILED"] if new == "FAILED" else shortest(courier, service, "FAILED", new)
        if to_failed and onward:
            return True, to_failed + onward[1:]
        # Reading: "the same word is a repeat" means the same status (IN_RETURN behind PENDING_RETURN too), since
        # "the same status again is always legal".
        return new == status, []
    if new == status:
        return True, []
    scans = {"IN_TRANSIT", "PENDING_DELIVERY", "IN_DELIVERY", "FAILED"}
    if courier == "kiriminaja" and status == "RETURNING" and new in scans:
        return True, []
    if status not in own:
        return (True, [status, new]) if new in own and status not in FINAL_EVERYWHERE else (False, [])
    path = shortest(courier, service, status, new, str(one.jumps_through) if one.jumps_through else None)
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
        twin = one.source == Source.PULL and self._status_and_time_are_there(one)
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
            transition = self._transition(before, after.service, mine)
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

    def _transition(self, before: Folded, service: str, mine: Judged) -> str:
        if mine.before is None:
            return "initial"
        if is_final(self.courier, before.service, mine.before):
            return "reopened"
        new = mine.path[-1]
        under_way = {"PENDING_PICKUP", "PENDING_DELIVERY", "IN_DELIVERY", "IN_TRANSIT"}
        if new in under_way and {"FAILED", "LOST"} & set(mine.path[:-1]):
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
