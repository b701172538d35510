"""FastStream in batches of 500: one statement for a batch's parcels, an event for each record, then the offsets.

At least once: after a crash a batch is handled again, its versions are counted again, its events come again.
"""

import asyncio
import os
from collections import defaultdict

import asyncpg
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker, KafkaPublishMessage
from faststream.kafka.annotations import KafkaMessage
from pydantic import BaseModel

BATCH = 500

PARCELS = """
create table parcels (id text primary key, status text not null, version bigint not null)
"""

UPSERT = """
insert into parcels
select id, (array_agg(status order by place desc))[1], count(*)
from unnest($1::text[], $2::text[]) with ordinality as webhook (id, status, place)
group by id
on conflict (id) do update set status = excluded.status, version = parcels.version + excluded.version
returning id, version
"""
"""One row for each parcel of a batch; a parcel's last webhook in the batch gives its status."""


class Webhook(BaseModel):
    deliveryID: str  # noqa: N815  (the courier's name)
    status: str


async def main() -> None:
    database = await asyncpg.connect(os.environ["DATABASE_URL"])
    await database.execute(PARCELS)
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
        ids = [webhook.deliveryID for webhook in webhooks]
        newest = await database.fetch(UPSERT, ids, [webhook.status for webhook in webhooks])
        versions: dict[str, int] = {row["id"]: row["version"] for row in newest}
        events: dict[int, list[KafkaPublishMessage]] = defaultdict(list)
        for webhook, record in zip(reversed(webhooks), reversed(message.raw_message), strict=True):
            event = {"id": webhook.deliveryID, "status": webhook.status, "version": versions[webhook.deliveryID]}
            versions[webhook.deliveryID] -= 1
            events[record.partition].append(KafkaPublishMessage(event, key=record.key))
        for partition, batch in events.items():  # both topics have the same partitions and keys
            await broker.publish_batch(*reversed(batch), topic=os.environ["EVENTS_TOPIC"], partition=partition)

    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main())
