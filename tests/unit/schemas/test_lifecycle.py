"""What may follow what, service by service, against literal lists."""

import pytest

from schemas.couriers import COURIERS
from schemas.lifecycle import Lifecycle
from schemas.vocabulary import Status
from tests.unit.schemas.expected import expected

TABLES = {f"{name} {one.service}": one for name in sorted(COURIERS) for one in COURIERS[name].lifecycles.values()}
AT_ONCE: dict[str, str] = expected("AT_ONCE")
FINAL: dict[str, str] = expected("FINAL")
REOPENED: dict[str, str] = expected("REOPENED")
JUMPS: dict[str, str] = expected("JUMPS")
ILLEGAL: dict[str, str] = expected("ILLEGAL")
OPTIONS: dict[str, str] = expected("OPTIONS")
DASH_EXPRESS, DASH_LOGISTIC = TABLES["dash express"], TABLES["dash logistic"]
KIRIMINAJA_EXPRESS = TABLES["kiriminaja express"]


def lines(table: str) -> list[list[str]]:
    return [[part.strip() for part in line.split(">")] for line in table.strip().splitlines()]


def each(tables: dict[str, str]) -> list[tuple[str, list[str]]]:
    return [(service, line) for service, table in tables.items() for line in lines(table)]


def test_the_tables_are_these() -> None:
    assert [f"{one.courier} {one.service}" for one in TABLES.values()] == list(TABLES)
    assert all(list(each) == list(TABLES) for each in (AT_ONCE, FINAL, REOPENED, JUMPS, ILLEGAL, OPTIONS))


@pytest.mark.parametrize("service", TABLES)
def test_what_follows_at_once(service: str) -> None:
    told = {line.split(":")[0].strip(): line.split(":")[1].split() for line in AT_ONCE[service].strip().splitlines()}
    assert {str(start): set(map(str, ends)) for start, ends in TABLES[service].edges.items()} == {
        start: set(ends) for start, ends in told.items()
    }
    for start, ends in told.items():
        for end in ends:
            assert TABLES[service].path(Status(start), Status(end)) == ()


@pytest.mark.parametrize("service", TABLES)
def test_final_statuses(service: str) -> None:
    table = TABLES[service]
    final = set(FINAL[service].split())
    assert {str(status) for status in table.statuses if table.is_final(status)} == final
    assert {str(status) for status in table.edges if table.is_final(status)} == set(REOPENED[service].split())
    always = ["DELIVERED", "RETURNED", "CANCELLED", "SEIZED", "CLAIM_SETTLED", "DISPOSED"]
    assert all(table.is_final(Status(name)) for name in always)
    assert table.is_final(Status.FAILED) is ("also_final" in OPTIONS[service])


@pytest.mark.parametrize(("service", "line"), each(JUMPS))
def test_forward_jumps_and_what_they_skip(service: str, line: list[str]) -> None:
    start, passed, end = line
    assert TABLES[service].path(Status(start), Status(end)) == tuple(Status(name) for name in passed.split())


@pytest.mark.parametrize(("service", "line"), each(ILLEGAL))
def test_illegal_moves(service: str, line: list[str]) -> None:
    start, end = line
    assert TABLES[service].path(Status(start), Status(end)) is None


@pytest.mark.parametrize("service", TABLES)
def test_cancelled_is_reached_by_an_edge_of_its_own_only(service: str) -> None:
    table = TABLES[service]
    for start in Status:
        edge = Status.CANCELLED in table.edges.get(start, ())
        assert table.path(start, Status.CANCELLED) == (() if edge else None)


@pytest.mark.parametrize("service", TABLES)
def test_no_jump_passes_through_a_closed_status_or_leaves_a_final_one(service: str) -> None:
    table = TABLES[service]
    for start in Status:
        for end in Status:
            passed = table.path(start, end)
            assert not {Status.LOST, Status.DAMAGED, Status.NO_DRIVER} & set(passed or ())
            final = {status for status in passed or () if table.is_final(status)}
            assert not final or (final == {Status.FAILED} and end in {"RETURNING", "RETURNED", "DISPOSED"})
            assert not (passed and table.is_final(start))


@pytest.mark.parametrize(
    ("start", "last", "passed"),
    [
        ("IN_TRANSIT", "LOST", ("LOST",)),  # 703
        ("IN_TRANSIT", "DAMAGED", ("DAMAGED",)),  # 704
        ("CREATED", "LOST", ("LOST",)),
        ("RETURNING", "DAMAGED", ("DAMAGED",)),
        ("FAILED", "LOST", ("LOST",)),
        ("LOST", "LOST", ()),
        ("DAMAGED", "LOST", ()),
        ("LOST", "DAMAGED", ()),
        ("DELIVERED", "LOST", None),
        ("CANCELLED", "DAMAGED", None),
    ],
)
def test_claims_lead_through_what_they_settle(start: str, last: str, passed: tuple[str, ...] | None) -> None:
    assert KIRIMINAJA_EXPRESS.path(Status(start), Status.CLAIM_SETTLED, last=Status(last)) == passed


@pytest.mark.parametrize(
    ("start", "end", "passed"),
    [
        # the domain's own example: from FAILED n to PENDING_DELIVERY n+1
        ("FAILED", "PENDING_DELIVERY", "PENDING_DELIVERY IN_DELIVERY FAILED"),
        ("PENDING_DELIVERY", "PENDING_DELIVERY", "IN_DELIVERY FAILED"),
        ("IN_DELIVERY", "PENDING_DELIVERY", "FAILED"),
        ("IN_DELIVERY", "IN_DELIVERY", "FAILED PENDING_DELIVERY"),
        ("IN_DELIVERY", "FAILED", ""),
        ("FAILED", "FAILED", "PENDING_DELIVERY IN_DELIVERY"),
        ("CREATED", "PENDING_DELIVERY", "VERIFIED PENDING_DELIVERY IN_DELIVERY FAILED"),
        ("PENDING_DELIVERY", "DELIVERED", "IN_DELIVERY FAILED PENDING_DELIVERY IN_DELIVERY"),
        ("VERIFIED", "RETURNING", "PENDING_DELIVERY IN_DELIVERY FAILED"),
        ("DELIVERED", "DELIVERED", None),
        ("DELIVERED", "FAILED", None),
        ("RETURNING", "RETURNING", None),
        ("VERIFIED", "VERIFIED", None),
        ("VERIFIED", "NOT_VERIFIED", None),
        ("PENDING_DELIVERY", "CANCELLED", "IN_DELIVERY FAILED"),
        ("IN_DELIVERY", "CANCELLED", "FAILED"),
        ("FAILED", "CANCELLED", "PENDING_DELIVERY IN_DELIVERY FAILED"),
        ("VERIFIED", "PENDING_PICKUP", "PENDING_DELIVERY IN_DELIVERY FAILED"),
        ("IN_DELIVERY", "RETURNED", "FAILED RETURNING"),
        ("CANCELLED", "PENDING_DELIVERY", None),
        ("RETURNING", "RETURNED", None),
    ],
)
def test_a_raised_count_leads_through_failed(start: str, end: str, passed: str | None) -> None:
    assert DASH_LOGISTIC.path(Status(start), Status(end), via_failed=True) == (
        None if passed is None else tuple(Status(name) for name in passed.split())
    )


def test_of_equal_ways_the_tables_first_is_taken() -> None:
    a, b, c, d = Status.CREATED, Status.VERIFIED, Status.NOT_VERIFIED, Status.DELIVERED
    service = DASH_LOGISTIC.service
    assert Lifecycle("x", service, {a: (b, c), b: (d,), c: (d,)}).path(a, d) == (b,)
    assert Lifecycle("x", service, {a: (c, b), b: (d,), c: (d,)}).path(a, d) == (c,)


def test_reassignments() -> None:
    assert DASH_EXPRESS.reassignments == {
        ("PICKING_UP", "PENDING_PICKUP"),
        ("PENDING_DELIVERY", "PENDING_PICKUP"),
        ("IN_DELIVERY", "PENDING_PICKUP"),
        ("FAILED", "PENDING_PICKUP"),
    }


@pytest.mark.parametrize("service", TABLES)
def test_what_else_each_service_does(service: str) -> None:
    options = ("also_final", "reassignments", "count_moves", "scans_while_returning", "counts_entries")
    assert {name for name in options if getattr(TABLES[service], name)} == set(OPTIONS[service].split())
