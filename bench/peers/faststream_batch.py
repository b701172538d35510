"""FastStream in batches of 500: one statement for a batch's parcels, one for their history, an event for each record.

At least once: after a crash a batch is handled again, its versions are counted again, its events come again.
"""

import asyncio
import os
from collections import defaultdict

import asyncpg
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaPublishMessage
from faststream.kafka.annotations import KafkaMessage
from parcels import HISTORY_COLUMNS, TABLES, Webhook, event_of

BATCH = 500

UPSERT = """
insert into parcels
select id, (array_agg(status order by place desc))[1], (array_agg(word order by place desc))[1],
    (array_agg(order_id order by place desc))[1], (array_agg(failures order by place desc))[1],
    (array_agg(occurred_at order by place desc))[1], (array_agg(driver order by place desc))[1],
    (array_agg(reason order by place desc))[1], count(*)
from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::timestamptz[], $7::text[], $8::text[])
    with ordinality as webhook (id, status, word, order_id, failures, occurred_at, driver, reason, place)
group by id
on conflict (id) do update set
    status = excluded.status,
    courier_status = excluded.courier_status,
    order_id = excluded.order_id,
    failed_count = excluded.failed_count,
    occurred_at = excluded.occurred_at,
    driver = excluded.driver,
    reason = excluded.reason,
    version = parcels.version + excluded.version,
    updated_at = now()
returning id, version
"""
"""One row for each parcel of a batch; a parcel's last webhook in the batch gives its values."""


async def main() -> None:
    database = await asyncpg.connect(os.environ["DATABASE_URL"])
    await database.execute(TABLES)
    broker = KafkaBroker(os.environ["KAFKA"], acks="all", max_batch_size=1024 * 1024, logger=None)

    @broker.subscriber(
        os.environ["RAW_TOPIC"],
        group_id=os.environ["GROUP"],
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
        batch=True,
        max_records=BATCH,
    )
    async def handle(webhooks: list[Webhook], message: KafkaMessage) -> None:
        async with database.transaction():
            newest = await database.fetch(
                UPSERT,
                [webhook.deliveryID for webhook in webhooks],
                [webhook.meaning for webhook in webhooks],
                [webhook.status for webhook in webhooks],
                [webhook.providerOrderID for webhook in webhooks],
                [webhook.failedCount for webhook in webhooks],
                [webhook.occurred_at for webhook in webhooks],
                [webhook.courier.name if webhook.courier else None for webhook in webhooks],
                [webhook.reason for webhook in webhooks],
            )
            versions: dict[str, int] = {row["id"]: row["version"] for row in newest}
            history = []
            events: dict[int, list[KafkaPublishMessage]] = defaultdict(list)
            for webhook, record in zip(reversed(webhooks), reversed(message.raw_message), strict=True):
                version = versions[webhook.deliveryID]
                event = event_of(webhook, version, record.partition, record.offset)
                history.append((webhook.deliveryID, version, record.partition, record.offset, event.decode()))
                events[record.partition].append(KafkaPublishMessage(event, key=record.key))
                versions[webhook.deliveryID] = version - 1
            await database.copy_records_to_table("history", records=history, columns=HISTORY_COLUMNS)
        for partition, batch in events.items():  # both topics have the same partitions and keys
            await broker.publish_batch(*reversed(batch), topic=os.environ["EVENTS_TOPIC"], partition=partition)

    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main())
