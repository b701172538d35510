"""The JSON Schemas of every topic and the text of `docs/state-machines.md`. Pure; `make schemas` writes the files.

Enumerations are open in the schemas: known values have a definition of their own (`KnownStatus`), any text is valid,
because they may grow within version 1. What is always written is required. A field that refers to a definition does so
within `allOf`, since before draft 2019-09 whatever stands beside `$ref` is passed over.
"""

import json
from typing import Any, Final

import msgspec

from schemas import vocabulary
from schemas.couriers import COURIERS
from schemas.drawing import state_machines
from schemas.events import SCHEMA_VERSION, Anomaly, Event, State
from schemas.topics import Topic
from schemas.traces import TRACEPARENT
from schemas.vocabulary import DeadLetterReason, Source

FOLDER: Final = "schemas/exported"
_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]

_MAY_GROW: Final = "May grow: treat a value you do not know as a no-op."

FIELDS: Final = {
    "account": "The merchant account of the door that took the webhook; null where the door has none.",
    "attempt": "failed_count + 1; while FAILED, the attempt that failed.",
    "awb": "The carrier's airway bill number.",
    "carrier": "Who carries for an aggregator; null where the courier carries itself.",
    "charges": "What the delivery costs; null where nothing is known.",
    "cod": "Cash collected on delivery.",
    "code": "The company's short name.",
    "courier": "Who sent the webhook.",
    "courier_ref": "The courier's reference: the last part of shipment_id.",
    "courier_status": "The courier's own word.",
    "currency": "ISO 4217.",
    "description": "The courier's scan text.",
    "driver": "Who has the parcel now.",
    "failed_count": "Failed attempts at delivery so far.",
    "final": "Whether no further status is expected.",
    "id": "Opaque. The same id always comes with the same bytes.",
    "insurance": "The insurance fee.",
    "kind": "Why it could not simply be applied.",
    "name": "The driver's name.",
    "observed": "What the late webhook itself said; null unless the event is history_added or corrected.",
    "occurred_at": "When it happened: the courier's time, else the time received. RFC 3339, UTC, microseconds.",
    "occurred_at_source": "How far occurred_at can be trusted.",
    "offset": "The record's offset.",
    "order_id": "The merchant's own order number.",
    "partition": "The record's partition.",
    "personal": "Everything about persons. Nothing about them stands elsewhere.",
    "phase": "The coarse stage of the status.",
    "phone": "The driver's phone number.",
    "previous_status": "The status before this event; null on the first.",
    "proofs": "Pictures that belong to the status.",
    "raw": "The raw record this comes from.",
    "reason": "Why it failed, was cancelled or goes back.",
    "received_at": "When the webhook reached the door. RFC 3339, UTC, microseconds.",
    "recorded_at": "When this was written. RFC 3339, UTC, microseconds.",
    "resolves": "Ids of the anomalies that this event settles: what was refused counts now. At most 256 KiB of "
    "them, the first; of more than some 4,000 the rest is settled unnamed.",
    "service": "What was ordered from the courier.",
    "shipment_id": "`<courier>:<reference>`, or `<courier>.<account>:<reference>`. The record's key.",
    "shipping": "The delivery fee.",
    "signed_by": "Who took the parcel.",
    "skipped": "The statuses jumped over, because their webhooks never came or are late.",
    "source": "How the raw record came to be.",
    "status": "The shipment's status after this event.",
    "topic": "The record's topic, prefix included.",
    "tracking_url": "The courier's live page.",
    "transition": "How the status was reached; null where it did not move.",
    "type": "What the event tells.",
    "url": "Where the picture is.",
    "version": "Counts a shipment's events from 1 without gaps. Drop what is not above the version you hold.",
    "Anomaly.observed": "What the webhook said.",
    "Anomaly.status": "The shipment's status, unchanged; null if there is none.",
    "Carrier.service": "The company's product.",
    "Observed.status": "The webhook's status; null for an unknown word.",
    "ShownProof.occurred_at": "When the picture was taken. RFC 3339, UTC, microseconds.",
    "ShownProof.type": "The courier's word for the kind of picture.",
    "State.status": "The shipment's status.",
}
"""What each field means. `Definition.field` goes before `field`."""

Value = Event | State | Anomaly
"""The value of an output topic."""

_REMARKS: Final[dict[type[Value], str]] = {State: "A record without a value means: forget the shipment."}

_TEXT: Final[Schema] = {"type": "string"}
_MOMENT: Final[Schema] = {"type": "string", "format": "date-time"}
_COORDINATES: Final[Schema] = {"type": "string", "pattern": "^[0-9]+:[0-9]+$"}

_TRACE: Final[Schema] = {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-01$"}

_RAW_HEADERS: Final[dict[str, Schema]] = {
    "courier": {**_TEXT, "description": "Whose body it is."},
    "account": {**_TEXT, "description": FIELDS["account"]},
    "webhook-id": {**_TEXT, "description": "Names the webhook; the records of one body share it."},
    "item": {"type": "string", "pattern": "^[0-9]+/[0-9]+$", "description": "The record's place in the body: 1/3."},
    "received-at": {**_MOMENT, "description": "RFC 3339, UTC, microseconds; also the record's timestamp."},
    "source": {"anyOf": [{"enum": [*Source]}, _TEXT], "description": f"How the record came to be. {_MAY_GROW}"},
    "replay-of": {**_COORDINATES, "description": "The root record that is to be read again."},
    "command-id": {**_TEXT, "description": "Makes a tool's record apply once, however often it was appended."},
    "content-type": {**_TEXT, "description": "As the courier sent it."},
    TRACEPARENT: {**_TRACE, "description": "Of a traced webhook: the door's span, of W3C Trace Context."},
}
_DEAD_LETTER_HEADERS: Final[dict[str, Schema]] = {
    "dlq-reason": {"anyOf": [{"enum": [*DeadLetterReason]}, _TEXT], "description": f"Why. {_MAY_GROW}"},
    "dlq-detail": {**_TEXT, "description": "A sentence for the operator."},
    "dlq-topic": {**_TEXT, "description": "The topic the record was read from."},
    "dlq-partition": {"type": "string", "pattern": "^[0-9]+$", "description": "Its partition."},
    "dlq-offset": {"type": "string", "pattern": "^[0-9]+$", "description": "Its offset."},
    "dlq-at": {**_MOMENT, "description": "When it was given up."},
}
CLOUD_EVENT_HEADERS: Final[dict[str, Schema]] = {
    "ce_specversion": {**_TEXT, "const": "1.0"},
    "ce_id": {**_TEXT, "description": "The value's id; of a state, the id of the event that left it."},
    "ce_type": {**_TEXT, "description": "The event's type, shipment.state or shipment.anomaly."},
    "ce_source": {"type": "string", "format": "uri-reference", "description": "One for each topic."},
    "ce_subject": {**_TEXT, "description": "The shipment_id."},
    "ce_time": {**_MOMENT, "description": "occurred_at."},
    "ce_dataschema": {"type": "string", "format": "uri", "description": "The $id of the value's schema."},
    "content-type": {**_TEXT, "const": "application/json"},
}
"""The headers of the output topics, by name."""

TRACE_HEADERS: Final[dict[str, Schema]] = {
    TRACEPARENT: {
        **_TRACE,
        "description": "Of W3C Trace Context, on events of webhooks that were traced; absent from all others, and "
        "where nothing is traced. Continue that trace, or link to it, or ignore it.",
    },
}
"""The header that an event has on top, if its webhook was traced."""


def documents() -> dict[str, str]:
    """Return every generated file's text by its path from the project's root."""
    return {
        **{f"{FOLDER}/{name}.v{SCHEMA_VERSION}.schema.json": _text(name, body) for name, body in _schemas().items()},
        "docs/state-machines.md": state_machines(),
    }


def _schemas() -> dict[str, Schema]:
    return {
        Topic.EVENTS: _of_struct(Event),
        Topic.STATE: _of_struct(State),
        Topic.ANOMALIES: _of_struct(Anomaly),
        "shipment.headers": _of_headers(
            "The CloudEvents 1.0 headers of the three output topics.",
            {**CLOUD_EVENT_HEADERS, **TRACE_HEADERS},
            [*CLOUD_EVENT_HEADERS],
        ),
        Topic.RAW: _raw("A courier's bytes, as they came: one body, or one item of it."),
        f"{Topic.RAW}.headers": _of_headers(
            "The headers of a raw record.", _RAW_HEADERS, ["courier", "received-at", "source"]
        ),
        Topic.DEAD_LETTERS: _raw("The bytes of a raw record that gave no observation."),
        f"{Topic.DEAD_LETTERS}.headers": _of_headers(
            "The headers of a dead letter: the raw record's own and why it is here.",
            {**_RAW_HEADERS, **_DEAD_LETTER_HEADERS},
            [*_DEAD_LETTER_HEADERS],
        ),
    }


def definitions(value: type[Value], place: str) -> dict[str, Schema]:
    """Return the schema of a topic's value, and of all that it refers to, by name.

    `place` is where the definitions stand: `#/$defs/`.
    """
    _, components = msgspec.json.schema_components([value], ref_template=f"{place}{{name}}")
    found: dict[str, Schema] = {}
    for name, definition in sorted(components.items()):
        found |= _open(name, definition, place) if "enum" in definition else {name: _object(name, definition)}
    top = found[value.__name__]
    remarks = (top["description"], _REMARKS.get(value, ""), "Ignore fields you do not know.")
    return {**found, value.__name__: {**top, "description": " ".join(filter(None, remarks))}}


def _of_struct(value: type[Value]) -> Schema:
    parts = definitions(value, "#/$defs/")
    return {**parts.pop(value.__name__), "$defs": parts}


def _open(name: str, definition: Schema, place: str) -> dict[str, Schema]:
    """Open an enumeration; name its known values."""
    meaning, known = definition["description"], f"Known{name}"
    words = [member.value for member in getattr(vocabulary, name)]
    return {
        name: {
            "title": name,
            "description": f"{meaning} {_MAY_GROW}",
            "anyOf": [{"$ref": f"{place}{known}"}, _TEXT],
        },
        known: {"title": known, "description": f"{meaning} The values of today.", **_TEXT, "enum": words},
    }


def _object(name: str, definition: Schema) -> Schema:
    """Give each field its meaning. All are required, because msgspec writes every field, a default too."""
    fields = definition["properties"]
    return {
        **definition,
        "properties": {field: _property(name, field, shape) for field, shape in fields.items()},
        "required": [*fields],
    }


def _property(name: str, field: str, shape: Schema) -> Schema:
    shape = {key: part for key, part in shape.items() if key != "default"}
    if field.endswith("_at"):
        shape = {"anyOf": [_MOMENT, {"type": "null"}]} if "anyOf" in shape else _MOMENT
    elif "$ref" in shape:
        shape = {"allOf": [shape]}
    return {**shape, "description": FIELDS.get(f"{name}.{field}") or FIELDS[field]}


def _of_headers(description: str, headers: dict[str, Schema], required: list[str]) -> Schema:
    return {
        "description": f"{description} Values are UTF-8 bytes, shown here as text. Ignore headers you do not know.",
        "type": "object",
        "required": required,
        "properties": headers,
    }


def _raw(description: str) -> Schema:
    return {
        "description": f"{description} They need not even be JSON; the header `courier` says whose they are. "
        "Couriers add fields and words without notice: the shapes only name what Waybill looks for first.",
        "anyOf": [
            *({"$ref": f"#/$defs/{courier}"} for courier in sorted(COURIERS)),
            {"description": "Anything else; it ends as a dead letter."},
        ],
        "$defs": {courier: COURIERS[courier].body_schema for courier in sorted(COURIERS)},
    }


def _text(name: str, schema: Schema) -> str:
    head = {"$schema": _DIALECT, "$id": f"urn:waybill:schema:{name}:{SCHEMA_VERSION}", "title": name}
    rest = {key: value for key, value in schema.items() if key != "title"}
    return json.dumps({**head, **rest}, indent=2, ensure_ascii=False) + "\n"
