"""What all workers of a process use."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from processor.core.cursor import Stream
from processor.protocol.crash_points import Reached
from processor.storage.cursors import Cursors
from processor.storage.store import Store
from runtime.kafka_asking import Admin
from runtime.kafka_types import Consumer
from runtime.metrics import ProcessorMetrics
from runtime.settings import Settings

if TYPE_CHECKING:
    from runtime.spans import Spans


class Shared(msgspec.Struct, frozen=True):
    """What all workers of a process use."""

    settings: Settings
    stream: Stream
    consumer: Consumer
    admin: Admin
    cursors: Cursors
    store: Store
    metrics: ProcessorMetrics
    reached: Reached
    stores_work: Callable[[], bool]
    """Whether both stores answer, as was last seen. While one is away it is to blame for doubts, and that is said."""
    spans: "Spans | None" = None
    """Makes the spans of batches with records of traced webhooks, if any are made here."""
