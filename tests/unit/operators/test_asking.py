"""Operators' requests that a courier is asked: what can be asked, and what is told of one."""

from datetime import UTC, datetime
from types import SimpleNamespace

import msgspec
import pytest

from operators.decisions.known_shipment import KnownShipment
from operators.doctor.finding import Level
from operators.doctor.postgres import of_requests
from operators.requests import asking
from operators.requests.asking import AskProspect, AskRequest, in_words, last_in_words, refusal
from reconcile.requests import MOVED, NOT_ASKED
from runtime.metrics import AskResult
from schemas.vocabulary import Service, Status

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
KNOWN = KnownShipment("dash:1", "dash", None, Service.EXPRESS, Status.CREATED, 1, NOW)
ASKED = AskRequest("ask-1", "dash:1", "ani", "why", NOW, None, None, None, 0, "because")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, None),
        ({"erased_at": NOW}, None),
        ({"courier": "jet"}, "no courier that this version knows"),
        ({"status": None}, "has no status yet"),
        ({"retired_at": NOW}, "was archived at 2026-11-27T12:00:00"),
    ],
)
def test_what_can_be_asked(changed: dict[str, object], why: str | None) -> None:
    told = refusal(msgspec.structs.replace(KNOWN, **changed))
    assert told is None if why is None else (told is not None and why in told)


def test_a_courier_without_an_api_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "COURIERS", {"dash": SimpleNamespace(tracking=None)})
    assert refusal(KNOWN) == "dash has no API that can be asked"


def test_each_way_a_request_stands_is_told() -> None:
    assert "no `waybill reconcile` runs" in in_words(ASKED, is_asking=False)
    assert "waits for the reconcile service since" in in_words(ASKED, is_asking=True)
    taken = msgspec.structs.replace(ASKED, taken_at=NOW)
    assert "is being asked" in in_words(taken, is_asking=True)
    assert "no `waybill reconcile` runs" in in_words(taken, is_asking=False)
    ended = [
        in_words(msgspec.structs.replace(taken, ended_at=NOW, outcome=outcome, appended=2), is_asking=False)
        for outcome in (*AskResult, MOVED, NOT_ASKED)
    ]
    assert len(set(ended)) == len(ended)
    assert [told for told in ended if "because" in told] == [ended[4], ended[5], ended[7]]
    assert "2 records" in ended[0]


def test_the_last_answer_is_told() -> None:
    prospect = AskProspect(KNOWN, None, None, None, is_asking=True)
    assert "was not asked" in last_in_words(prospect)
    asked = msgspec.structs.replace(prospect, asked_at=NOW, outcome="no_news")
    assert last_in_words(asked) == "it was last asked at 2026-11-27T12:00:00.000000Z: no news"


def test_doctor_tells_of_requests_that_nobody_answers() -> None:
    assert of_requests(0, None).level is Level.OK
    found = of_requests(3, NOW)
    assert (found.level, "3 requests" in found.found) == (Level.WARN, True)
    assert "waybill reconcile" in (found.mend or "")
