"""Keeps a table of parcels up to date from Waybill's topics: a subscriber to start from.

Settings: KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL; KAFKA_GROUP_ID and KAFKA_TOPIC_PREFIX where they are not the usual
ones; KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_CA_FILE for brokers that ask who you are (SCRAM over TLS).
"""

import json
import os
import signal

import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition
from psycopg.types.json import Jsonb

PREFIX = os.environ.get("KAFKA_TOPIC_PREFIX", "")
STATE, EVENTS = f"{PREFIX}shipment.state", f"{PREFIX}shipment.events"
TYPES = {"shipment.status_changed", "shipment.updated", "shipment.history_added", "shipment.corrected"}

TABLES = """
    create table if not exists parcels (shipment_id text primary key, version bigint not null,
        status text not null, final boolean not null, personal jsonb not null);
    create table if not exists offsets (
        topic text, partition integer, next_offset bigint not null, primary key (topic, partition));
"""
# What is not newer changes nothing: records may come again, and the state is ahead of the first events.
UPSERT = """
    insert into parcels values (%(shipment_id)s, %(version)s, %(status)s, %(final)s, %(personal)s)
    on conflict (shipment_id) do update set version = excluded.version, status = excluded.status,
        final = excluded.final, personal = excluded.personal
    where parcels.version < excluded.version
"""
DELETE = "delete from parcels where shipment_id = %s"
STORED = "select partition, next_offset from offsets where topic = %s"
STORE = """insert into offsets values (%s, %s, %s)
    on conflict (topic, partition) do update set next_offset = excluded.next_offset"""


class Subscriber:
    """Reads `shipment.state` to its end once, then follows `shipment.events` until it is told to stop."""

    def __init__(self, consumer: Consumer, database: psycopg.Connection) -> None:
        self.consumer, self.database, self.stopping = consumer, database, False

    def stop(self, *_: object) -> None:
        self.stopping = True

    def run(self) -> None:
        self.database.execute(TABLES)
        if not self.stored(EVENTS):
            self.read_state()
        self.consumer.subscribe([EVENTS], on_assign=lambda consumer, assigned: consumer.assign(self.placed(assigned)))
        while not self.stopping:
            self.apply_what_came()

    def read_state(self) -> None:
        partitions = self.consumer.list_topics(STATE, timeout=30).topics[STATE].partitions
        self.consumer.assign(self.placed([TopicPartition(STATE, partition) for partition in partitions]))
        unread = set(partitions)
        while unread and not self.stopping:
            unread -= self.apply_what_came()
        self.consumer.unassign()
        print("read the state; following the events", flush=True)

    def apply_what_came(self) -> set[int | None]:
        """Apply a batch and store the offsets behind it, in one transaction. Return the partitions whose end it saw."""
        messages = self.consumer.consume(500, timeout=0.5)
        ended = [message for message in messages if message.error()]
        for message in ended:
            if (error := message.error()) and error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
        with self.database.pipeline(), self.database.transaction():
            for message in messages:
                if not message.error():
                    self.apply(message)
                    self.database.execute(STORE, [message.topic(), message.partition(), (message.offset() or 0) + 1])
        return {message.partition() for message in ended}

    def apply(self, message: Message) -> None:
        if (value := message.value()) is None:  # forgotten
            self.database.execute(DELETE, [(message.key() or b"").decode()])
            return
        parcel = json.loads(value)
        if message.topic() == STATE or parcel["type"] in TYPES:
            self.database.execute(UPSERT, parcel | {"personal": Jsonb(parcel["personal"])})

    def placed(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return partitions with the offsets to read on from: those of the database, never the group's."""
        stored = self.stored(partitions[0].topic) if partitions else {}
        return [TopicPartition(at.topic, at.partition, stored.get(at.partition, OFFSET_BEGINNING)) for at in partitions]

    def stored(self, topic: str) -> dict[int, int]:
        return dict(self.database.execute(STORED, [topic]).fetchall())


def main() -> None:
    settings: dict[str, str | bool] = {
        "bootstrap.servers": os.environ["KAFKA_BOOTSTRAP_SERVERS"],
        "group.id": os.environ.get("KAFKA_GROUP_ID", "parcels"),
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "auto.offset.reset": "error",  # an offset that is gone: nothing is skipped in silence
        "enable.partition.eof": True,
    }
    if "KAFKA_USERNAME" in os.environ:
        settings |= {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}
        settings |= {"sasl.username": os.environ["KAFKA_USERNAME"], "sasl.password": os.environ["KAFKA_PASSWORD"]}
        settings |= {"ssl.ca.location": os.environ["KAFKA_CA_FILE"]}
    consumer = Consumer(settings)
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        subscriber = Subscriber(consumer, database)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, subscriber.stop)
        try:
            subscriber.run()
        finally:
            consumer.close()


if __name__ == "__main__":
    main()
