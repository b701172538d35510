"""FastStream one record after the other: two statements, an event and a commit of the offset for each.

At least once: after a crash the last record is handled again, its version is counted again, its event comes again.
"""

import asyncio
import os

import asyncpg
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from parcels import TABLES, Webhook, event_of

UPSERT = """
insert into parcels values ($1, $2, $3, $4, $5, $6, $7, $8, 1)
on conflict (id) do update set
    status = excluded.status,
    courier_status = excluded.courier_status,
    order_id = excluded.order_id,
    failed_count = excluded.failed_count,
    occurred_at = excluded.occurred_at,
    driver = excluded.driver,
    reason = excluded.reason,
    version = parcels.version + 1,
    updated_at = now()
returning version
"""

APPEND = """
insert into history (id, version, partition, "offset", event) values ($1, $2, $3, $4, $5)
"""


async def main() -> None:
    database = await asyncpg.connect(os.environ["DATABASE_URL"])
    await database.execute(TABLES)
    broker = KafkaBroker(os.environ["KAFKA"], acks="all", logger=None)

    @broker.subscriber(
        os.environ["RAW_TOPIC"],
        group_id=os.environ["GROUP"],
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    async def handle(webhook: Webhook, message: KafkaMessage) -> None:
        record = message.raw_message
        async with database.transaction():
            version = await database.fetchval(
                UPSERT,
                webhook.deliveryID,
                webhook.meaning,
                webhook.status,
                webhook.providerOrderID,
                webhook.failedCount,
                webhook.occurred_at,
                webhook.courier.name if webhook.courier else None,
                webhook.reason,
            )
            event = event_of(webhook, version, record.partition, record.offset)
            await database.execute(APPEND, webhook.deliveryID, version, record.partition, record.offset, event.decode())
        await broker.publish(event, os.environ["EVENTS_TOPIC"], key=record.key)

    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main())
