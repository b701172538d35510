"""FastStream one record after the other: a statement, an event and a commit of the offset for each.

At least once: after a crash the last record is handled again, its version is counted again, its event comes again.
"""

import asyncio
import os

import asyncpg
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from faststream.kafka.annotations import KafkaMessage
from pydantic import BaseModel

PARCELS = """
create table parcels (id text primary key, status text not null, version bigint not null)
"""

UPSERT = """
insert into parcels values ($1, $2, 1)
on conflict (id) do update set status = excluded.status, version = parcels.version + 1
returning version
"""


class Webhook(BaseModel):
    deliveryID: str  # noqa: N815  (the courier's name)
    status: str


async def main() -> None:
    database = await asyncpg.connect(os.environ["DATABASE_URL"])
    await database.execute(PARCELS)
    broker = KafkaBroker(os.environ["KAFKA"], acks="all", logger=None)

    @broker.subscriber(
        os.environ["RAW_TOPIC"],
        group_id=os.environ["GROUP"],
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.NACK_ON_ERROR,
    )
    async def handle(webhook: Webhook, message: KafkaMessage) -> None:
        version = await database.fetchval(UPSERT, webhook.deliveryID, webhook.status)
        event = {"id": webhook.deliveryID, "status": webhook.status, "version": version}
        await broker.publish(event, os.environ["EVENTS_TOPIC"], key=message.raw_message.key)

    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main())
