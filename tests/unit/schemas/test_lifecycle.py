"""What may follow what, service by service, against literal lists."""

import pytest

from schemas.lifecycle import Lifecycle
from schemas.transitions import DASH_EXPRESS, DASH_LOGISTIC, KIRIMINAJA_EXPRESS, KIRIMINAJA_INSTANT, LIFECYCLES
from schemas.vocabulary import Status

TABLES = {
    "dash express": DASH_EXPRESS,
    "dash logistic": DASH_LOGISTIC,
    "kiriminaja express": KIRIMINAJA_EXPRESS,
    "kiriminaja instant": KIRIMINAJA_INSTANT,
}

AT_ONCE = {
    "dash express": """
        CREATED: ALLOCATING CANCELLED
        ALLOCATING: PENDING_PICKUP CANCELLED
        PENDING_PICKUP: PICKING_UP CANCELLED
        PICKING_UP: PENDING_DELIVERY PENDING_PICKUP CANCELLED
        PENDING_DELIVERY: IN_DELIVERY PENDING_PICKUP
        IN_DELIVERY: DELIVERED FAILED PENDING_PICKUP
        FAILED: PENDING_PICKUP RETURNING RETURNED DISPOSED
        RETURNING: RETURNED DISPOSED
    """,
    "dash logistic": """
        CREATED: VERIFIED NOT_VERIFIED CANCELLED
        NOT_VERIFIED: VERIFIED CANCELLED
        VERIFIED: PENDING_DELIVERY PENDING_PICKUP CANCELLED
        PENDING_PICKUP: PENDING_DELIVERY CANCELLED
        PENDING_DELIVERY: IN_DELIVERY CANCELLED
        IN_DELIVERY: DELIVERED FAILED
        FAILED: PENDING_DELIVERY PENDING_PICKUP RETURNING CANCELLED
        RETURNING: RETURNED DISPOSED
    """,
    "kiriminaja express": """
        CREATED: PENDING_PICKUP CANCELLED LOST DAMAGED SEIZED DISPOSED
        PENDING_PICKUP: IN_TRANSIT CANCELLED LOST DAMAGED SEIZED DISPOSED
        IN_TRANSIT: DELIVERED FAILED RETURNING CANCELLED LOST DAMAGED SEIZED DISPOSED
        PENDING_DELIVERY: FAILED IN_TRANSIT DELIVERED RETURNING CANCELLED LOST DAMAGED SEIZED DISPOSED
        FAILED: PENDING_DELIVERY IN_TRANSIT DELIVERED RETURNING CANCELLED LOST DAMAGED SEIZED DISPOSED
        RETURNING: RETURNED DELIVERED CANCELLED LOST DAMAGED SEIZED DISPOSED
        LOST: IN_TRANSIT CLAIM_SETTLED CANCELLED DAMAGED SEIZED DISPOSED
        DAMAGED: IN_TRANSIT RETURNING CLAIM_SETTLED CANCELLED LOST SEIZED DISPOSED
        DELIVERED: RETURNED
        CANCELLED: DELIVERED RETURNED
    """,
    "kiriminaja instant": """
        PENDING_PICKUP: NO_DRIVER PENDING_DELIVERY CANCELLED
        NO_DRIVER: PENDING_DELIVERY CANCELLED
        PENDING_DELIVERY: NO_DRIVER IN_DELIVERY IN_TRANSIT FAILED RETURNING CANCELLED
        IN_DELIVERY: DELIVERED IN_TRANSIT FAILED RETURNING CANCELLED
        IN_TRANSIT: DELIVERED IN_DELIVERY FAILED RETURNING CANCELLED
        FAILED: PENDING_DELIVERY IN_DELIVERY IN_TRANSIT DELIVERED RETURNING CANCELLED
        RETURNING: RETURNED DELIVERED CANCELLED
        DELIVERED: RETURNED
        CANCELLED: DELIVERED RETURNED
    """,
}

FINAL = {
    "dash express": "DELIVERED FAILED RETURNED CANCELLED DISPOSED",
    "dash logistic": "DELIVERED RETURNED CANCELLED DISPOSED",
    "kiriminaja express": "DELIVERED RETURNED CANCELLED SEIZED CLAIM_SETTLED DISPOSED",
    "kiriminaja instant": "DELIVERED RETURNED CANCELLED",
}
REOPENED = {
    "dash express": "FAILED",
    "dash logistic": "",
    "kiriminaja express": "DELIVERED CANCELLED",
    "kiriminaja instant": "DELIVERED CANCELLED",
}

# from > the statuses jumped over > to
JUMPS = {
    "dash express": """
        CREATED > ALLOCATING > PENDING_PICKUP
        CREATED > ALLOCATING PENDING_PICKUP PICKING_UP PENDING_DELIVERY IN_DELIVERY > DELIVERED
        ALLOCATING > PENDING_PICKUP PICKING_UP PENDING_DELIVERY IN_DELIVERY > FAILED
        PENDING_PICKUP > PICKING_UP > PENDING_DELIVERY
        PICKING_UP > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        PENDING_DELIVERY > IN_DELIVERY > FAILED
        PENDING_DELIVERY > PENDING_PICKUP > PICKING_UP
        IN_DELIVERY > PENDING_PICKUP PICKING_UP > PENDING_DELIVERY
        IN_DELIVERY > FAILED > RETURNING
        IN_DELIVERY > FAILED > RETURNED
        PICKING_UP > PENDING_DELIVERY IN_DELIVERY FAILED > DISPOSED
    """,
    "dash logistic": """
        CREATED > VERIFIED > PENDING_DELIVERY
        CREATED > VERIFIED PENDING_DELIVERY IN_DELIVERY > FAILED
        NOT_VERIFIED > VERIFIED PENDING_DELIVERY > IN_DELIVERY
        VERIFIED > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        PENDING_DELIVERY > IN_DELIVERY FAILED > RETURNING
        VERIFIED > PENDING_DELIVERY IN_DELIVERY FAILED RETURNING > RETURNED
        FAILED > PENDING_DELIVERY > IN_DELIVERY
        FAILED > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        IN_DELIVERY > FAILED > PENDING_DELIVERY
        FAILED > RETURNING > RETURNED
        FAILED > RETURNING > DISPOSED
        CREATED > VERIFIED > PENDING_PICKUP
        IN_DELIVERY > FAILED > PENDING_PICKUP
        PENDING_PICKUP > PENDING_DELIVERY > IN_DELIVERY
    """,
    "kiriminaja express": """
        CREATED > PENDING_PICKUP > IN_TRANSIT
        CREATED > PENDING_PICKUP IN_TRANSIT > DELIVERED
        PENDING_PICKUP > IN_TRANSIT > DELIVERED
        PENDING_PICKUP > IN_TRANSIT > FAILED
        PENDING_PICKUP > IN_TRANSIT > RETURNING
        PENDING_PICKUP > IN_TRANSIT RETURNING > RETURNED
        IN_TRANSIT > RETURNING > RETURNED
        IN_TRANSIT > FAILED > PENDING_DELIVERY
        CREATED > PENDING_PICKUP IN_TRANSIT FAILED > PENDING_DELIVERY
        FAILED > RETURNING > RETURNED
        LOST > IN_TRANSIT > DELIVERED
        LOST > IN_TRANSIT > RETURNING
        DAMAGED > RETURNING > RETURNED
        DAMAGED > IN_TRANSIT > DELIVERED
        PENDING_DELIVERY > RETURNING > RETURNED
        DAMAGED > IN_TRANSIT FAILED > PENDING_DELIVERY
    """,
    "kiriminaja instant": """
        PENDING_PICKUP > PENDING_DELIVERY > IN_DELIVERY
        PENDING_PICKUP > PENDING_DELIVERY > IN_TRANSIT
        PENDING_PICKUP > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        NO_DRIVER > PENDING_DELIVERY > IN_DELIVERY
        NO_DRIVER > PENDING_DELIVERY IN_DELIVERY > DELIVERED
        NO_DRIVER > PENDING_DELIVERY > RETURNING
        PENDING_DELIVERY > RETURNING > RETURNED
        PENDING_PICKUP > PENDING_DELIVERY RETURNING > RETURNED
        PENDING_PICKUP > PENDING_DELIVERY > FAILED
        IN_DELIVERY > FAILED > PENDING_DELIVERY
        IN_TRANSIT > FAILED > PENDING_DELIVERY
        IN_DELIVERY > FAILED PENDING_DELIVERY > NO_DRIVER
    """,
}

ILLEGAL = {
    "dash express": """
        DELIVERED > CANCELLED
        DELIVERED > FAILED
        DELIVERED > RETURNING
        FAILED > PENDING_DELIVERY
        FAILED > PICKING_UP
        FAILED > DELIVERED
        FAILED > CANCELLED
        CANCELLED > PENDING_PICKUP
        PENDING_DELIVERY > CANCELLED
        IN_DELIVERY > CANCELLED
        PENDING_PICKUP > ALLOCATING
        PENDING_PICKUP > CREATED
        RETURNING > PENDING_PICKUP
        RETURNED > DISPOSED
        CREATED > VERIFIED
    """,
    "dash logistic": """
        VERIFIED > NOT_VERIFIED
        VERIFIED > CREATED
        DELIVERED > FAILED
        DELIVERED > PENDING_DELIVERY
        DELIVERED > RETURNED
        RETURNING > PENDING_DELIVERY
        RETURNED > RETURNING
        RETURNING > CANCELLED
        IN_DELIVERY > CANCELLED
        CANCELLED > PENDING_PICKUP
        DISPOSED > RETURNED
    """,
    "kiriminaja express": """
        IN_TRANSIT > PENDING_PICKUP
        PENDING_PICKUP > CREATED
        DELIVERED > CANCELLED
        DELIVERED > RETURNING
        RETURNED > IN_TRANSIT
        RETURNED > DELIVERED
        CANCELLED > IN_TRANSIT
        CANCELLED > LOST
        CREATED > CLAIM_SETTLED
        IN_TRANSIT > CLAIM_SETTLED
        FAILED > CLAIM_SETTLED
        CLAIM_SETTLED > IN_TRANSIT
        SEIZED > IN_TRANSIT
        DISPOSED > RETURNED
        DELIVERED > DISPOSED
        RETURNING > PENDING_DELIVERY
    """,
    "kiriminaja instant": """
        PENDING_DELIVERY > PENDING_PICKUP
        RETURNING > FAILED
        DELIVERED > RETURNING
        CANCELLED > PENDING_DELIVERY
        RETURNED > DELIVERED
        PENDING_PICKUP > LOST
        PENDING_PICKUP > DISPOSED
    """,
}


def lines(table: str) -> list[list[str]]:
    return [[part.strip() for part in line.split(">")] for line in table.strip().splitlines()]


def each(tables: dict[str, str]) -> list[tuple[str, list[str]]]:
    return [(service, line) for service, table in tables.items() for line in lines(table)]


def test_the_tables_are_these() -> None:
    assert [f"{one.courier} {one.service}" for one in LIFECYCLES] == list(TABLES)
    assert list(TABLES.values()) == list(LIFECYCLES)


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
    assert table.is_final(Status.FAILED) is (service == "dash express")


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
    assert not any(table.reassignments for table in LIFECYCLES if table is not DASH_EXPRESS)


def test_what_else_each_service_does() -> None:
    assert [name for name, table in TABLES.items() if table.count_moves] == ["dash logistic"]
    kiriminaja = ["kiriminaja express", "kiriminaja instant"]
    assert [name for name, table in TABLES.items() if table.scans_while_returning] == kiriminaja
    assert [name for name, table in TABLES.items() if table.counts_entries] == kiriminaja
