"""The topics that subscribers read as an AsyncAPI 3.1 document, made of their values, headers and configuration.

`make schemas` writes the file; tests hold it against AsyncAPI's own JSON Schema and parser. The raw topic and the dead
letters are no part of it: nobody but Waybill reads them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from runtime.settings import load_settings
from runtime.topics import WantedTopic, wanted_topics
from schemas.events import ANOMALY_TYPE, CONSTANT_HEADERS, SCHEMA_VERSION, STATE_TYPE, Anomaly, Event, State
from schemas.export import CLOUD_EVENT_HEADERS, FIELDS, FOLDER, TRACE_HEADERS, Value, definitions
from schemas.topics import Topic

FILE: Final = f"{FOLDER}/asyncapi.json"
"""The committed document, from the project's root."""

Part = dict[str, Any]

BINDING: Final = "0.5.0"
"""The version of AsyncAPI's binding for Kafka."""

_SCHEMAS: Final = "#/components/schemas/"
_NUMBERS: Final = ("retention.ms", "retention.bytes", "max.message.bytes")
_TOPIC_WIDE: Final = (
    "The partition is the one that the Java client's default partitioner (murmur2) chooses for the key. "
    "`WAYBILL_TOPIC_PREFIX`, where the deployment sets it, stands before the topic's name. Partitions and replicas are "
    "as many as `WAYBILL_TOPIC_PARTITIONS` and `WAYBILL_TOPIC_REPLICATION_FACTOR` say, here by default; the number of "
    "partitions never changes while the topic lives."
)


class Channel(msgspec.Struct, frozen=True):
    """A topic that subscribers read: its names in the document, and what it says of itself.

    `type`: the schema of the header `ce_type`.
    """

    name: str
    topic: Topic
    value: type[Value]
    message: str
    title: str
    type: Part
    guarantees: str


CHANNELS: Final = (
    Channel(
        "events",
        Topic.EVENTS,
        Event,
        "shipmentEvent",
        "Shipment event",
        {"allOf": [{"$ref": f"{_SCHEMAS}EventType"}]},
        "One record for each thing that happened to a shipment. To a reader with `isolation.level=read_committed`:\n\n"
        "- Each event appears once, unless an operator rewinds the processor's offsets with Kafka's own tools: then "
        "again, with the same id and bytes.\n"
        "- A shipment's events appear in the order of `version`: 1, 2, 3, without gaps. Drop what is not above the "
        "version you hold.\n"
        "- A webhook that was answered 200 comes to an event, to nothing new, to an anomaly or to a dead letter, "
        "whatever is killed in between, while Kafka's replicas (or the spool's disk) live.\n"
        "- Nothing leaves a final status but `shipment.corrected`, and a `shipment.status_changed` whose transition is "
        "`reopened`.\n"
        "- Event and state of one change are published in one transaction.",
    ),
    Channel(
        "state",
        Topic.STATE,
        State,
        "shipmentState",
        "Shipment state",
        {"const": STATE_TYPE.decode()},
        "The newest snapshot of each shipment: the topic is compacted. It is what the newest event leaves behind, "
        "published with it in one transaction. To start: read this topic to the end it has now, then follow the events "
        "and drop those whose `version` is not above the state's. A record without a value means: forget the shipment.",
    ),
    Channel(
        "anomalies",
        Topic.ANOMALIES,
        Anomaly,
        "shipmentAnomaly",
        "Shipment anomaly",
        {"const": ANOMALY_TYPE.decode()},
        "One record for each observation that could not simply be applied. `status` is the shipment's, unchanged. An "
        "event that settles anomalies later names them in `resolves`. Each appears once, as the events do.",
    ),
)

_DESCRIPTION: Final = f"""\
What Waybill publishes to subscribers: couriers' webhooks as one stream of events in one vocabulary.

- **Read with `isolation.level=read_committed`.** It is not the default of most clients. Without it you see events of \
batches that were never committed, and then see them again.
- Offsets have gaps: transaction markers, compaction. Do not count with them.
- **Ignore fields you do not know; treat a `type`, `status`, `phase`, `transition` or `kind` you do not know as \
nothing to do.** Fields and values may be added to version {SCHEMA_VERSION}; nothing in it is removed or changes its \
meaning. A breaking change makes new topics `….v2`, and both are fed for 90 days.
- Every moment is RFC 3339 in UTC with microseconds: moments compare as texts.
- Whatever concerns persons stands under `personal`. When it is erased, an event and the state show it empty: empty \
your copy too.
"""


class Example(msgspec.Struct, frozen=True):
    """A record as an example: its value and headers as JSON."""

    name: str
    headers: Part
    payload: Part


def document(examples: Mapping[Topic, Sequence[Example]]) -> Part:
    """Make the document, with examples of each topic's records."""
    topics = {topic.name: topic for topic in wanted_topics(load_settings({}))}
    schemas: dict[str, Part] = {}
    for channel in CHANNELS:
        schemas |= definitions(channel.value, _SCHEMAS)
        schemas |= {_headers_name(channel): _headers(channel)}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Waybill: shipment events",
            "version": str(SCHEMA_VERSION),
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"kafka": _server()},
        "channels": {channel.name: _channel(channel, topics[channel.topic]) for channel in CHANNELS},
        "operations": {
            f"publish{channel.message[0].upper()}{channel.message[1:]}": _operation(channel) for channel in CHANNELS
        },
        "components": {
            "messages": {
                **{channel.message: _message(channel, examples[channel.topic]) for channel in CHANNELS},
                _FORGET: _forget(),
            },
            "schemas": schemas,
            "securitySchemes": {
                "scramSha512": {"type": "scramSha512", "description": "A user of the brokers, SCRAM-SHA-512."},
                "scramSha256": {"type": "scramSha256", "description": "A user of the brokers, SCRAM-SHA-256."},
            },
        },
    }


def text(examples: Mapping[Topic, Sequence[Example]]) -> str:
    """Return the document as it is committed."""
    return json.dumps(document(examples), indent=2, ensure_ascii=False) + "\n"


_FORGET: Final = "forgottenShipment"


def _server() -> Part:
    return {
        "host": "{bootstrapServers}",
        "protocol": "kafka-secure",
        "description": "The company's brokers, over TLS (SASL_SSL). A subscriber's user may read these three topics, "
        "with consumer groups whose names begin with the user's name and a dot, and write none.",
        "variables": {
            "bootstrapServers": {
                "description": "The brokers to ask first, host:port.",
                "default": load_settings({}).kafka_bootstrap_servers,
            }
        },
        "security": [{"$ref": f"#/components/securitySchemes/{name}"} for name in ("scramSha512", "scramSha256")],
        "bindings": {"kafka": {"bindingVersion": BINDING}},
    }


def _channel(channel: Channel, topic: WantedTopic) -> Part:
    return {
        "address": topic.name,
        "title": channel.topic,
        "description": f"{channel.guarantees}\n\n{_TOPIC_WIDE}",
        "servers": [{"$ref": "#/servers/kafka"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _messages(channel)},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": topic.replication_factor,
                "topicConfiguration": {
                    "cleanup.policy": topic.configs["cleanup.policy"].split(","),
                    **{name: int(topic.configs[name]) for name in _NUMBERS if name in topic.configs},
                },
                "bindingVersion": BINDING,
            }
        },
    }


def _operation(channel: Channel) -> Part:
    return {
        "action": "send",
        "title": f"Waybill publishes to {channel.topic}",
        "summary": "You receive it.",
        "channel": {"$ref": f"#/channels/{channel.name}"},
        "messages": [{"$ref": f"#/channels/{channel.name}/messages/{name}"} for name in _messages(channel)],
    }


def _messages(channel: Channel) -> tuple[str, ...]:
    return (channel.message, _FORGET) if channel.topic is Topic.STATE else (channel.message,)


def _message(channel: Channel, examples: Sequence[Example]) -> Part:
    return {
        "name": channel.message,
        "title": channel.title,
        "summary": msgspec.json.schema_components([channel.value])[1][channel.value.__name__]["description"],
        "contentType": "application/json",
        "headers": {"$ref": f"{_SCHEMAS}{_headers_name(channel)}"},
        "payload": {"$ref": f"{_SCHEMAS}{channel.value.__name__}"},
        "bindings": _keyed(),
        "examples": [msgspec.to_builtins(example) for example in examples],
    }


def _forget() -> Part:
    return {
        "name": _FORGET,
        "title": "Forgotten shipment",
        "summary": "A record without a value: the shipment is final and has been silent for long. Delete your copy.",
        "payload": {"type": "null"},
        "bindings": _keyed(),
    }


def _keyed() -> Part:
    key = {"type": "string", "description": f"{FIELDS['shipment_id']} In UTF-8."}
    return {"kafka": {"key": key, "bindingVersion": BINDING}}


def _headers_name(channel: Channel) -> str:
    return f"{channel.value.__name__}Headers"


def _headers(channel: Channel) -> Part:
    """Return the schema of a channel's headers: what is the same on each of its records is a constant."""
    constant: dict[str, Part] = {name: {"const": value.decode()} for name, value in CONSTANT_HEADERS[channel.topic]}
    special = {**constant, "ce_type": channel.type}
    headers = CLOUD_EVENT_HEADERS | TRACE_HEADERS if channel.topic is Topic.EVENTS else CLOUD_EVENT_HEADERS
    return {
        "title": _headers_name(channel),
        "description": "CloudEvents 1.0 in binary mode. Values are UTF-8 bytes. Ignore headers you do not know.",
        "type": "object",
        "properties": {name: {**shape, **special.get(name, {})} for name, shape in headers.items()},
        "required": [*CLOUD_EVENT_HEADERS],
    }
