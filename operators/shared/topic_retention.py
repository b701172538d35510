"""How long topics keep their records, as it is in force."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from operators.shared.errors import OperatorError
from runtime.kafka import admin_client
from runtime.kafka_admin import find_topics
from runtime.settings import Settings
from schemas.topics import Topic

_RETENTION: Final = "retention.ms"


async def retentions(settings: Settings, topics: Sequence[Topic]) -> dict[Topic, timedelta | None]:
    """Return how long topics keep records, as it is in force; None: for ever.

    Raises:
        OperatorError: one is missing.

    """
    async with admin_client(settings) as admin:
        found = await find_topics(admin, [settings.topic(each) for each in topics], [_RETENTION])
    kept: dict[Topic, timedelta | None] = {}
    for topic in topics:
        name = settings.topic(topic)
        if name not in found:
            raise OperatorError(f"topic {name} is missing: `waybill topics apply` makes it")
        milliseconds = int(found[name].configs[_RETENTION])
        kept[topic] = None if milliseconds < 0 else timedelta(milliseconds=milliseconds)
    return kept
