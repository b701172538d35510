"""What a trial takes, and what it tells: webhooks, their records, and the shipments that these add up to."""

from typing import Any

import msgspec

from operators.trial.parts import Part
from operators.trial.places import Place


class Body(msgspec.Struct, frozen=True):
    """What a file holds. Of one larger than the door takes, one byte more than it takes is enough."""

    file: str
    content: bytes


class DeadLetter(msgspec.Struct, frozen=True):
    """What the dead letter of a record that cannot be read would say. `at`: the byte of the body that makes it so."""

    reason: str
    detail: str
    at: Place | None


class Said(msgspec.Struct, frozen=True):
    """What a record says. `status` is what the courier's word means; None: nothing of the state, or not `known`."""

    shipment_id: str
    courier_status: str
    known: bool
    status: str | None
    proves: tuple[str, ...]
    hints: tuple[str, ...]
    count: int
    times: dict[str, str]
    updated_at: str | None
    details: dict[str, Any]


class Published(msgspec.Struct, frozen=True):
    """One thing that would be published, without the prefix of the topic's name."""

    topic: str
    value: dict[str, Any]


class TriedRecord(msgspec.Struct, frozen=True):
    """A raw record that a webhook would leave, and what would come of it.

    `name` tells it from the others of the trial: `<webhook>:<item>`. `at`: where its bytes begin in the body. `outcome`
    is what it led to, or `dead_letter`; `why` says more of it. `parts` are None where they cannot be told apart.
    """

    name: str
    item: str
    key: str
    partition: int
    bytes: int
    at: Place | None
    outcome: str
    published: tuple[Published, ...]
    why: str | None = None
    said: Said | None = None
    dead_letter: DeadLetter | None = None
    parts: tuple[Part, ...] | None = None


class TriedWebhook(msgspec.Struct, frozen=True):
    """A body, as the door would take it. `answer` is its status code; `refused` says why it is not 200.

    `unappended`: how many pieces of an answer say nothing new, and would not be appended.
    """

    file: str
    bytes: int
    received_at: str
    answer: int | None
    refused: str | None
    records: tuple[TriedRecord, ...] = ()
    unappended: int = 0


class Placed(msgspec.Struct, frozen=True):
    """An observation in its place in the fold. `position` is what it is ordered by, `record` its record's name.

    `accepted` is None for a word without a status, which stands before all others and is not judged.
    """

    record: str
    courier_status: str
    status: str | None
    occurred_at: str
    occurred_at_source: str
    position: tuple[Any, ...]
    accepted: bool | None
    before: str | None
    moved: bool
    passed: tuple[str, ...]


class TriedShipment(msgspec.Struct, frozen=True):
    """A shipment: its fold in order, and the row that it comes to; None while no word has a status."""

    shipment_id: str
    service: str
    proven: tuple[str, ...]
    hinted: tuple[str, ...]
    fold: tuple[Placed, ...]
    state: dict[str, Any] | None


class Trial(msgspec.Struct, frozen=True):
    """All of it. `unexplained`: of so many readable records, behind the first ones, no parts are told."""

    courier: str
    webhooks: tuple[TriedWebhook, ...]
    shipments: tuple[TriedShipment, ...]
    unexplained: int = 0

    @property
    def all_read(self) -> bool:
        """Whether every body would be taken, and every record give an observation."""
        refused = any(webhook.refused for webhook in self.webhooks)
        return not refused and all(record.dead_letter is None for each in self.webhooks for record in each.records)
