"""What a courier's folder declares and does. Adding a courier is one such folder and one line in the registry.

What is pure is done here: reading, ordering. What needs a network is declared as data, and done by those who iterate
over the registry: the door by `Credentials`, `waybill reconcile` by `Tracking`, the settings by both.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any, Protocol

import msgspec

from schemas.lifecycle import Lifecycle
from schemas.observation import Observation, Stamp
from schemas.records import Provenance, UnreadableError
from schemas.tolerant_json import unstorable
from schemas.vocabulary import DeadLetterReason, Service, Source, Status

MAX_REFERENCE_BYTES = 128
"""The longest reference, in UTF-8: it is part of every key."""

MAX_ITEMS = 10_000
"""The most items of one webhook's body that become records of their own; a body with more stays one as it came.
Couriers send hundreds at most, and each takes some kilobytes of memory at the door."""

Position = tuple[Any, ...]
"""Where an observation stands in its shipment's order. Positions of one service compare with each other."""


class WebhookItem(msgspec.Struct, frozen=True):
    """One raw record to be made of a body: self-contained bytes, and the shipment they name, if they name one."""

    value: bytes
    reference: str | None


class NotFound(msgspec.Struct, frozen=True):
    """A courier's answer that it knows no such shipment."""


class Credentials(msgspec.Struct, frozen=True):
    """How a courier shows who it is: a secret in a header, behind a scheme's name where there is one.

    The settings' names stand without `WAYBILL_`. A courier whose secrets are not set is off.
    """

    secrets_setting: str
    header: str
    scheme: str | None = None
    header_setting: str | None = None


class ApiSetting(msgspec.Struct, frozen=True):
    """A setting that a courier's API takes: its name, without `WAYBILL_`, and what it means."""

    name: str
    meaning: str


class ApiKey(msgspec.Struct, frozen=True):
    """A key of the merchant's, shown by each request in a header, behind a scheme's name where there is one."""

    setting: ApiSetting
    header: str = "Authorization"
    scheme: str | None = "Bearer"


class SignIn(msgspec.Struct, frozen=True):
    """A `POST` that gives a token, which each request then shows as `Authorization: Bearer …`. Renewed on 401 and 403.

    `credentials` are the settings by the member of the JSON document that each stands in. `token_of` reads the token
    out of the answer, and raises `UnreadableError` where there is none that a header can carry.
    """

    path: str
    credentials: Mapping[str, ApiSetting]
    token_of: Callable[[bytes], str]


class Tracking(msgspec.Struct, frozen=True):
    """How a courier's API is asked about one shipment, and what its answer becomes.

    `path` follows the address; `{reference}` in it stands for the reference, percent-encoded. `body` makes the JSON
    document to send; None: none is sent. `pieces` makes the raw records of an answer about the shipment of a reference,
    oldest first; it raises `UnreadableError` where the answer is malformed or about another shipment.
    `unknown_is_404`: by 404 the courier says that it knows no such shipment; else its answer's body says so.
    """

    address: ApiSetting
    access: ApiKey | SignIn
    method: str
    path: str
    pieces: Callable[[bytes, str], list[WebhookItem] | NotFound]
    body: Callable[[str], object] | None = None
    unknown_is_404: bool = False

    @property
    def secrets(self) -> tuple[ApiSetting, ...]:
        """The settings that hold what the courier wants to be shown."""
        match self.access:
            case ApiKey(setting):
                return (setting,)
            case SignIn(_, credentials):
                return tuple(credentials.values())

    @property
    def settings(self) -> tuple[str, ...]:
        """The names of the settings that asking takes, without `WAYBILL_`. One not set: the courier is not asked."""
        return (self.address.name, *(setting.name for setting in self.secrets))


class Courier(Protocol):
    """One courier: how its bodies are split and read, how its messages are ordered, how its API is asked."""

    name: str
    credentials: Credentials
    lifecycles: Mapping[Service, Lifecycle]
    words: Mapping[str, Mapping[str, Status | None]]
    """Its mapping, by the field that holds the word; None gives details only. `docs/state-machines.md` shows it."""
    zone_settings: Mapping[Source, tuple[str, str]]
    """The settings (without `WAYBILL_`) that give the zone of times without one, with their defaults. Else UTC."""
    tracking: Tracking | None
    """How it is asked about a shipment. None: it is not asked."""
    body_schema: Mapping[str, Any]
    """The JSON Schema of a raw record, with what is looked for first. It documents the raw topic."""
    example: str
    """A webhook's body that `waybill up` shows to try. RUN in it becomes the run's name, NOW the time."""

    def split(self, body: bytes) -> list[WebhookItem]:
        """Make one piece of each item of a webhook's body.

        A body that cannot be split, or has more than `MAX_ITEMS`, is one piece as it came.
        """
        ...

    def read(self, value: bytes, provenance: Provenance, assumed_zone: tzinfo) -> Observation:
        """Read one raw record. `assumed_zone` holds for times without a zone.

        Raises:
            UnreadableError: the record gives no observation.

        """
        ...

    def former_digest(self, value: bytes) -> bytes | None:
        """Return the record digest that the first two editions of the rules gave a raw record; None: no other."""
        ...

    def service(self, proven: frozenset[Service], hinted: frozenset[Service]) -> Service:
        """Decide the service from everything that a shipment's observations prove, and hint at."""
        ...

    def occurred(self, observation: Observation, service: Service) -> Stamp:
        """Say when it happened: the time that counts for the word, else its fallbacks, else the time received."""
        ...

    def position(self, observation: Observation, service: Service, occurred_at: datetime) -> Position:
        """Place an observation that has a status, and `occurred` then, among the others of its shipment."""
        ...


def check_reference(reference: object, name: str) -> str:
    """Return a usable reference, without the white space (Unicode's) around it.

    Raises:
        UnreadableError: `no_shipment` for anything but a text that has more than white space, of at most 128 bytes;
            `unstorable` for one with characters no database takes.

    """
    if not isinstance(reference, str) or not (reference := reference.strip()):
        raise UnreadableError(DeadLetterReason.NO_SHIPMENT, f"{name} is missing or no text")
    if reference.isascii() and reference.isprintable() and len(reference) <= MAX_REFERENCE_BYTES:
        return reference
    if unstorable(reference):
        raise UnreadableError(DeadLetterReason.UNSTORABLE, f"{name} holds a NUL or a lone surrogate")
    if len(reference.encode()) > MAX_REFERENCE_BYTES:
        raise UnreadableError(DeadLetterReason.NO_SHIPMENT, f"{name} is longer than {MAX_REFERENCE_BYTES} bytes")
    return reference
