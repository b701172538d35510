"""Every body of the couriers' documents, and the observation it stands for."""

import pytest

from schemas.couriers import COURIERS
from schemas.couriers.base import WebhookItem
from schemas.observation import Details, Proof
from schemas.times import format_time
from tests.unit.schemas.examples import SAMPLES
from tests.unit.schemas.expected import expected
from tests.unit.schemas.expected.kinds import Pictures, Said
from tests.unit.schemas.reading import answered, occurred, read, service

ASKED_FOR: dict[str, str] = expected("ASKED_FOR")
SAID: dict[str, list[Said]] = expected("SAID")
DETAILS: dict[str, tuple[Details, Pictures]] = expected("DETAILS")


def seen(proofs: tuple[Proof, ...]) -> list[tuple[str | None, str, str | None]]:
    return [(one.type, one.url, format_time(one.occurred_at) if one.occurred_at else None) for one in proofs]


def pieces_of(sample: str) -> list[WebhookItem]:
    courier, body = sample.partition("/")[0], SAMPLES[sample].read_bytes()
    pieces = answered(courier, body, ASKED_FOR[sample]) if sample in ASKED_FOR else COURIERS[courier].split(body)
    assert isinstance(pieces, list)
    return pieces


def test_every_sample_is_in_the_table() -> None:
    assert set(SAMPLES) == set(SAID)
    assert set(DETAILS) == set(SAID)


def test_every_courier_has_samples() -> None:
    assert {name.partition("/")[0] for name in SAMPLES} == set(COURIERS)


@pytest.mark.parametrize("sample", SAID)
def test_sample_gives_the_documented_observations(sample: str) -> None:
    courier = sample.partition("/")[0]
    pieces = pieces_of(sample)
    observations = [read(courier, piece.value) for piece in pieces]
    assert [
        (one.shipment_id, one.word, one.status, occurred(one), one.count, one.proves, service(one))
        for one in observations
    ] == SAID[sample]
    assert [piece.reference for piece in pieces] == [one.reference for one in observations]
    assert all(one.known for one in observations)


@pytest.mark.parametrize("sample", DETAILS)
def test_sample_gives_the_documented_details(sample: str) -> None:
    courier = sample.partition("/")[0]
    observation = read(courier, pieces_of(sample)[-1].value)
    details, pictures = DETAILS[sample]
    assert seen(observation.details.proofs) == pictures
    assert {**_fields(observation.details), "proofs": ()} == _fields(details)


def _fields(details: Details) -> dict[str, object]:
    return {name: getattr(details, name) for name in Details.__struct_fields__}
