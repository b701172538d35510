"""What the stories must lead to, compared with what was seen. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest

import msgspec

from schemas.events import Anomaly, Event
from schemas.vocabulary import AnomalyKind, EventType, Status, Transition


class ExpectedEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One event. `shipment` is the courier's reference, where a story has several."""

    status: Status
    shipment: str | None = None
    type: EventType = EventType.STATUS_CHANGED
    previous: Status | None = None
    transition: Transition | None = None
    attempt: int = 1
    skipped: tuple[Status, ...] = ()

    def __str__(self) -> str:
        """Say it in a line."""
        return _line(self.type, self.previous, self.status, self.transition, self.attempt, self.skipped)

    def is_told_by(self, event: Event) -> bool:
        """Whether the event says exactly this."""
        return (self.type, self.previous, self.status, self.transition, self.attempt, self.skipped) == (
            event.type,
            event.previous_status,
            event.status,
            event.transition,
            event.attempt,
            event.skipped,
        )


class ExpectedAnomaly(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One anomaly. `status` is the shipment's, unchanged; `shipment` as in `ExpectedEvent`."""

    kind: AnomalyKind
    status: Status | None = None
    shipment: str | None = None

    def __str__(self) -> str:
        """Say it in a line."""
        return f"anomaly {self.kind} at {self.status}"

    def is_told_by(self, anomaly: Anomaly) -> bool:
        """Whether the anomaly says exactly this."""
        return (self.kind, self.status) == (anomaly.kind, anomaly.status)


class Seen(msgspec.Struct):
    """What was published about one shipment, in order. `delays`: seconds from each event's webhook to us."""

    events: list[Event] = []
    delays: list[float] = []
    anomalies: list[Anomaly] = []


class Expectation(msgspec.Struct):
    """What must be published about one shipment, in order."""

    events: list[ExpectedEvent] = []
    anomalies: list[ExpectedAnomaly] = []


class Mismatch(msgspec.Struct, frozen=True):
    """Something about a shipment that is not as expected."""

    shipment_id: str
    text: str

    def __str__(self) -> str:
        """Say it in a line."""
        return f"{self.shipment_id}: {self.text}"


def everything_came(expected: Mapping[str, Expectation], seen: Mapping[str, Seen]) -> bool:
    """Whether as much was published about every shipment as must be."""
    return all(
        name in seen
        and len(seen[name].events) >= len(expectation.events)
        and len(seen[name].anomalies) >= len(expectation.anomalies)
        for name, expectation in expected.items()
    )


def differences(expected: Mapping[str, Expectation], seen: Mapping[str, Seen]) -> tuple[Mismatch, ...]:
    """Return everything missing, wrong or unexpected. Shipments nobody expects anything of are not looked at."""
    return tuple(
        Mismatch(name, text)
        for name, expectation in expected.items()
        for text in _of_shipment(expectation, seen.get(name, Seen()))
    )


def _of_shipment(expected: Expectation, seen: Seen) -> Iterator[str]:
    yield from _events(expected.events, seen.events)
    for wanted, anomaly in zip_longest(expected.anomalies, seen.anomalies):
        if anomaly is None:
            yield f"missing: {wanted}"
        elif wanted is None:
            yield f"unexpected: anomaly {anomaly.kind} at {anomaly.status}"
        elif not wanted.is_told_by(anomaly):
            yield f"should be {wanted}, was anomaly {anomaly.kind} at {anomaly.status}"


def _events(expected: Sequence[ExpectedEvent], seen: Sequence[Event]) -> Iterator[str]:
    for number, (wanted, event) in enumerate(zip_longest(expected, seen), start=1):
        if event is None:
            yield f"missing: event {number}, {wanted}"
        elif wanted is None:
            yield f"unexpected: event {number}, {_event_line(event)}"
        elif not wanted.is_told_by(event):
            yield f"event {number} should be {wanted}, was {_event_line(event)}"
        elif event.version != number:
            yield f"event {number} should have version {number}, has {event.version}"


def _event_line(event: Event) -> str:
    return _line(event.type, event.previous_status, event.status, event.transition, event.attempt, event.skipped)


def _line(
    type_: EventType,
    previous: Status | None,
    status: Status,
    transition: Transition | None,
    attempt: int,
    skipped: Sequence[Status],
) -> str:
    over = f", over {', '.join(skipped)}" if skipped else ""
    return f"{type_} {previous or '-'} → {status} ({transition or '-'}, attempt {attempt}{over})"
