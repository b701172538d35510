"""Whether the published state of a shipment is as its row and its stored events say. Pure."""

from collections.abc import Mapping
from typing import Final

import msgspec

from operators.audit.content import Account, digest, told_by
from operators.audit.facts import UNREADABLE, Difference, Facts, PublishedState, ShipmentRow, StoredEvent, difference
from schemas.events import State, state_after

_decode_state: Final = msgspec.json.Decoder(State).decode


class Late(msgspec.Struct, frozen=True):
    """The topic does not show what should be published: it may still come, if the reader was too early."""

    difference: Difference
    facts: "Facts"


class Differing(msgspec.Struct, frozen=True):
    """The published state is another than `wanted`, of the same version."""

    wanted: State | Account


def published(value: bytes, offset: int) -> PublishedState:
    """Digest a record of the state topic."""
    state = read_state(value)
    if state is None:
        return PublishedState(UNREADABLE, offset, b"", b"")
    return PublishedState(state.version, offset, digest(state), digest(told_by(state)))


def read_state(value: bytes) -> State | None:
    """Read a published state; None if it cannot be read."""
    try:
        return _decode_state(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def judge_state(facts: Facts) -> Difference | Late | Differing | None:
    """Judge the newest published state. A newer row is traffic, as long as what must be published is there."""
    state, row = facts.published, facts.row
    stored = {each.version: each for each in facts.events}
    if row is None:
        return None
    if state is None:
        due = 0 if row.retired else _due(facts, row, stored)
        return Late(difference(facts, "shipment.state", "version", due, None), facts) if due else None
    if state.version == UNREADABLE:
        return difference(facts, "shipment.state", "value", f"version {row.version}", "unreadable")
    if state.version > row.version:
        return difference(facts, "shipment.state", "version", row.version, state.version)
    if row.retired and state.version not in stored:
        gone = difference(facts, "shipment.state", "value", None, f"version {state.version}")
        return None if facts.forgetting else Late(gone, facts)
    due = _due(facts, row, stored)
    if state.version < due:
        return Late(difference(facts, "shipment.state", "version", due, state.version), facts)
    if row.erased and state.version < row.version:
        return None  # published before the erasure: the event was rewritten since
    return _content(state, row, stored)


def _content(state: PublishedState, row: ShipmentRow, stored: Mapping[int, StoredEvent]) -> Differing | None:
    if state.version in stored:
        event = stored[state.version].event
        wanted = state_after(event) if event else None
        return Differing(wanted) if wanted is not None and digest(wanted) != state.exact else None
    if state.version == row.version and row.content is not None and digest(row.content) != state.content:
        return Differing(row.content)
    return None


def _due(facts: Facts, row: ShipmentRow, stored: Mapping[int, StoredEvent]) -> int:
    """Return the version that must be published at least."""
    if facts.recovered and row.version not in stored:
        return row.version
    return max((each.version for each in facts.events if each.published), default=0)
