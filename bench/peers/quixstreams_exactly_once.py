"""Quix Streams with its exactly-once guarantee: the last status and a version of each shipment in a state store.

What a commit interval has read, changed and produced becomes visible at once or not at all. It writes no database: the
state is a RocksDB of each partition with a changelog topic.
"""

import os
from typing import Any

from quixstreams import Application, State

app = Application(
    broker_address=os.environ["KAFKA"],
    consumer_group=os.environ["GROUP"],
    auto_offset_reset="earliest",
    processing_guarantee="exactly-once",
    commit_interval=float(os.environ["COMMIT_INTERVAL"]),
    state_dir=os.environ["STATE_DIR"],
    loglevel="WARNING",
)


def event(webhook: dict[str, Any], shipment: State) -> dict[str, Any]:
    """Return the event of a webhook, whose key is its shipment's."""
    last = shipment.get("last", {"status": None, "version": 0})
    now = {"status": webhook["status"], "version": last["version"] + 1}
    shipment.set("last", now)
    return {"id": webhook["deliveryID"], "previous_status": last["status"], **now}


webhooks = app.dataframe(app.topic(os.environ["RAW_TOPIC"], value_deserializer="json"))
webhooks.apply(event, stateful=True).to_topic(app.topic(os.environ["EVENTS_TOPIC"], value_serializer="json"))

if __name__ == "__main__":
    app.run()
