"""Stories: the life of a parcel as a list of webhooks, each with the events it must lead to.

A story is a file in `stories/`; the first one says how to read it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from importlib import resources
from typing import Any, Final
from zoneinfo import ZoneInfo

import msgspec

from cli.demo.scenario.check import Expectation, ExpectedAnomaly, ExpectedEvent
from schemas.shipment_ids import shipment_id

BEFORE_NOW: Final = timedelta(minutes=1)
"""How long ago a story's last webhook says it happened: a courier's clock may be a little ahead of ours."""

_MOMENT: Final = re.compile(r"@(?:(\d+)h)?(?:(\d+)m)?( Jakarta)?")
_NULL: Final = "@null"
_JAKARTA: Final = ZoneInfo("Asia/Jakarta")

Json = Mapping[str, Any]
"""A JSON object."""


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One webhook: a sample's file, what differs from it, and what it must lead to. `note` is for the viewer."""

    sample: str
    set: dict[str, Any] = {}
    note: str | None = None
    events: tuple[ExpectedEvent, ...] = ()
    anomalies: tuple[ExpectedAnomaly, ...] = ()


class Move(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Something that happened to a parcel: when, in the code of its courier's tracking, in words."""

    at: str
    code: str
    text: str


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the courier answers after the webhooks, and what it must lead to. `note` is for the viewer."""

    note: str
    moves: tuple[Move, ...]
    events: tuple[ExpectedEvent, ...]


class Story(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Webhooks in the order they arrive. `set` holds for every one of them."""

    title: str
    courier: str
    deliveries: tuple[Delivery, ...]
    shipment: str | None = None
    set: dict[str, Any] = {}
    asked: Asked | None = None


class Webhook(msgspec.Struct, frozen=True):
    """A body to be posted, and the story it belongs to. `about` names the shipment, or the courier for several."""

    story: Story
    about: str
    body: bytes
    note: str | None


class Happened(msgspec.Struct, frozen=True):
    """A move of a parcel, with its time."""

    at: datetime
    code: str
    text: str


class Healing(msgspec.Struct, frozen=True):
    """A shipment to ask its courier about, once `told` was published: what the webhooks lead to."""

    story: Story
    shipment_id: str
    reference: str
    moves: tuple[Happened, ...]
    told: Expectation


class Play(msgspec.Struct, frozen=True):
    """One performance of the stories: webhooks in the order they are posted, and by shipment what must come of them.

    Of a shipment in `healings` `expected` holds also what must come of the answer.
    """

    webhooks: tuple[Webhook, ...]
    expected: dict[str, Expectation]
    shipments: dict[str, tuple[str, ...]]
    """By title: the shipment_ids of a story, in the order they appear."""
    healings: tuple[Healing, ...] = ()


def load_stories() -> tuple[Story, ...]:
    """Read the bundled stories."""
    files = resources.files("cli.demo.scenario") / "stories"
    return tuple(
        msgspec.toml.decode(file.read_bytes(), type=Story)
        for file in sorted(files.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".toml")
    )


def read_sample(name: str) -> Json:
    """Read a courier's sample body: `dash/express/failed.json` is among the samples in Dash's folder."""
    courier, _, rest = name.partition("/")
    sample: Json = msgspec.json.decode((resources.files("schemas.couriers") / courier / "samples" / rest).read_bytes())
    return sample


def play(stories: Sequence[Story], run: str, now: datetime, account: str | None) -> Play:
    """Make the webhooks of all stories, interleaved. `run` makes their shipments new; `account` is the door's."""
    posted: list[tuple[float, Webhook]] = []
    expected: dict[str, Expectation] = {}
    shipments: dict[str, tuple[str, ...]] = {}
    healings: list[Healing] = []
    for story in stories:
        moves = story.asked.moves if story.asked else ()
        times = [story.set, *(delivery.set for delivery in story.deliveries), [move.at for move in moves]]
        began = now - BEFORE_NOW - max(_offsets(times))
        own: dict[str, Expectation] = {}
        for place, delivery in enumerate(story.deliveries):
            body = _written(_merged(_merged(read_sample(delivery.sample), story.set), delivery.set), run, began)
            # Every story begins near the beginning and ends near the end.
            posted.append(
                (
                    (place + 0.5) / len(story.deliveries),
                    Webhook(story, _named(story, run, account), msgspec.json.encode(body), delivery.note),
                )
            )
            _expect(own, story, delivery, run, account)
        if story.asked:
            healings.append(_healing(story, story.asked, own, run, began, account))
        expected |= own
        shipments[story.title] = tuple(own)
    posted.sort(key=lambda entry: entry[0])
    return Play(tuple(webhook for _, webhook in posted), expected, shipments, tuple(healings))


def _healing(
    story: Story, asked: Asked, expected: dict[str, Expectation], run: str, began: datetime, account: str | None
) -> Healing:
    """Add to what is expected what must come of the answer."""
    assert story.shipment, f"{story.title}: who is asked about?"
    name = _named(story, run, account)
    told = expected[name]
    expected[name] = Expectation([*told.events, *asked.events], told.anomalies)
    moves = tuple(Happened(_moment(move.at, began), move.code, move.text) for move in asked.moves)
    return Healing(story, name, story.shipment.replace("{run}", run), moves, told)


def _moment(text: str, began: datetime) -> datetime:
    moment = _MOMENT.fullmatch(text)
    assert moment, f"{text} is not a moment such as @2h30m"
    return began + _offset(moment)


def _named(story: Story, run: str, account: str | None) -> str:
    return (
        shipment_id(story.courier, account, story.shipment.replace("{run}", run)) if story.shipment else story.courier
    )


def _expect(expected: dict[str, Expectation], story: Story, delivery: Delivery, run: str, account: str | None) -> None:
    def of(reference: str | None) -> Expectation:
        reference = reference or story.shipment
        assert reference, f"{story.title}: an expectation names no shipment"
        name = shipment_id(story.courier, account, reference.replace("{run}", run))
        return expected.setdefault(name, Expectation())

    for event in delivery.events:
        of(event.shipment).events.append(event)
    for anomaly in delivery.anomalies:
        of(anomaly.shipment).anomalies.append(anomaly)


def _merged(sample: Any, changes: Any) -> Any:
    """Lay changes over a sample. In a list, each lies over the sample's element at its place, else over the first."""
    if isinstance(sample, dict) and isinstance(changes, dict):
        return {**sample, **{name: _merged(sample.get(name), change) for name, change in changes.items()}}
    if isinstance(sample, list) and isinstance(changes, list):
        return [_merged(sample[at if at < len(sample) else 0], change) for at, change in enumerate(changes)]
    return changes


def _written(value: Any, run: str, began: datetime) -> Any:
    """Put in the run, the times and the nulls."""
    match value:
        case dict():
            return {name: _written(member, run, began) for name, member in value.items()}
        case list():
            return [_written(element, run, began) for element in value]
        case str() if value == _NULL:
            return None
        case str() if moment := _MOMENT.fullmatch(value):
            at = began + _offset(moment)
            if moment[3]:
                return at.astimezone(_JAKARTA).strftime("%Y-%m-%d %H:%M:%S")
            return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case str():
            return value.replace("{run}", run)
        case _:
            return value


def _offsets(values: Iterable[Any]) -> list[timedelta]:
    found = []
    for value in values:
        match value:
            case dict():
                found += _offsets(value.values())
            case list():
                found += _offsets(value)
            case str() if moment := _MOMENT.fullmatch(value):
                found.append(_offset(moment))
            case _:
                pass
    return found


def _offset(moment: re.Match[str]) -> timedelta:
    return timedelta(hours=int(moment[1] or 0), minutes=int(moment[2] or 0))
