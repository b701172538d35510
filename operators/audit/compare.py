"""When two accounts of one shipment differ, and when the counts of a partition do. Pure."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from operators.audit.content import Account, told_by
from operators.audit.facts import Counts, Difference, Facts, ShipmentRow, difference


def unlike(facts: Facts, where: str, expected: Account, found: Account) -> Iterator[Difference]:
    """Compare two accounts, field by field where they differ."""
    if expected != found:
        yield from unlike_fields(facts, where, expected.fields(), found.fields())


def unlike_fields(
    facts: Facts, where: str, expected: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[Difference]:
    """Compare values by name."""
    for name, value in expected.items():
        if found[name] != value:
            yield difference(facts, where, name, value, found[name])


def compare(facts: Facts) -> list[Difference]:
    """Compare a shipment's row, observations and stored events. What is published is judged by `judge_state`."""
    return [*_row(facts), *_versions(facts), *_newest_event(facts)]


def compare_outdated(facts: Facts) -> list[Difference]:
    """Compare the row of a shipment that an older edition read with what its stored observations come to today.

    What differs is not damage: a replay corrects it.
    """
    row, folded = facts.row, facts.folded
    if not facts.outdated or row is None or row.content is None or row.retired or folded is None:
        return []
    return list(unlike(facts, "shipments", folded, row.content))


def compare_raw(facts: Facts, refolded: Account | None) -> list[Difference]:
    """Compare a shipment's row with what the raw topic gives when it is read with today's code."""
    found = facts.row.content if facts.row else None
    if refolded is None or found is None:
        if facts.row is None and refolded is None:
            return []
        return [difference(facts, "raw", "status", refolded and refolded.status, found and found.status)]
    return list(unlike(facts, "raw", refolded, found))


def compare_counts(partition: int, counts: Counts, *, recovered: bool) -> list[Difference]:
    """Check the sums of a partition. A recovery stores no outputs for what it derives, and corrections of its own."""
    told = counts.events + counts.duplicates + counts.anomalies + counts.unchanged
    sums = [
        ("cursors", "records", counts.observations + counts.dead_letters + counts.rowless, counts.records),
        ("observations", "outcomes", counts.observations, told),
    ]
    if not recovered:
        sums += [
            ("outputs", "events", counts.events, counts.stored_events),
            ("outputs", "anomalies", counts.anomalies, counts.stored_anomalies),
        ]
    return [
        Difference(where, field, expected, found, partition)
        for where, field, expected, found in sums
        if expected != found
    ]


def _row(facts: Facts) -> Iterator[Difference]:
    row, folded = facts.row, facts.folded
    if row is None:
        version = max((each.version for each in facts.events), default=facts.published and facts.published.version)
        if folded is not None or version is not None:
            yield difference(facts, "shipments", "row", version and f"version {version}", None)
    elif row.content is None:
        yield difference(facts, "shipments", "row", folded and folded.status, "unreadable")
    elif folded is not None and not row.retired:
        if not facts.outdated:
            yield from unlike(facts, "shipments", folded, row.content)
    elif not row.retired and not facts.lost:
        yield difference(facts, "observations", "history", row.content.status, None)


def _versions(facts: Facts) -> Iterator[Difference]:
    """Check ids and versions of the stored events against the observations that led to them."""
    stored = sorted(each.version for each in facts.events)
    for each in facts.events:
        name = f"{facts.shipment_id}/{each.version}"
        if each.name != name:
            yield difference(facts, "outputs", "id", name, each.name)
    if len(stored) != len(set(stored)):
        yield difference(facts, "outputs", "versions", sorted(set(stored)), stored)
    if facts.row is not None and not facts.row.retired:
        for version in sorted(set(facts.versions).difference(stored, facts.derived)):
            yield difference(facts, "outputs", "event", f"{facts.shipment_id}/{version}", None)
        yield from _gaps(facts, facts.row, set(stored))


def _gaps(facts: Facts, row: ShipmentRow, stored: set[int]) -> Iterator[Difference]:
    if facts.recovered:
        if max(stored, default=0) > row.version:
            yield difference(facts, "shipments", "version", max(stored), row.version)
        return
    for version in sorted(stored.difference(facts.versions)):
        yield difference(facts, "observations", "event", f"version {version}", None)
    known = sorted(stored.union(facts.versions))
    for before, after in pairwise([0, *known]):
        if after != before + 1:
            yield difference(facts, "outputs", "version", before + 1, after)
    if row.version != max(known, default=0):
        yield difference(facts, "shipments", "version", max(known, default=0), row.version)


def _newest_event(facts: Facts) -> Iterator[Difference]:
    """Compare the newest event with the fold, which the row was compared with."""
    row = facts.row
    if row is None or row.retired:
        return
    wanted = row.content if facts.outdated else facts.folded or row.content
    newest = next((each.event for each in facts.events if each.version == row.version), None)
    if wanted is not None and newest is not None:
        yield from unlike(facts, "outputs", wanted, told_by(newest))
