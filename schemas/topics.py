"""The topics: names, keys' home, retention. Declared once, here; made by `waybill topics apply`."""

from datetime import timedelta
from typing import Final

import msgspec

from schemas.vocabulary import Word


class Topic(Word):
    """The names, before `WAYBILL_TOPIC_PREFIX`."""

    RAW = "courier.webhooks.raw"
    DEAD_LETTERS = "courier.webhooks.raw.dlq"
    EVENTS = "shipment.events"
    STATE = "shipment.state"
    ANOMALIES = "shipment.anomalies"


class TopicSpec(msgspec.Struct, frozen=True):
    """How one topic is kept. Without `retention` it is compacted."""

    topic: Topic
    retention: timedelta | None


TOPICS: Final = (
    TopicSpec(Topic.RAW, timedelta(days=30)),
    TopicSpec(Topic.DEAD_LETTERS, timedelta(days=30)),
    TopicSpec(Topic.EVENTS, timedelta(days=14)),
    TopicSpec(Topic.STATE, None),
    TopicSpec(Topic.ANOMALIES, timedelta(days=30)),
)
