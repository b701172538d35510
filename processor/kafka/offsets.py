"""What the group has committed."""

from processor.core.cursor import Committed, Stream
from runtime import kafka_admin
from runtime.kafka_asking import Admin


async def committed_offset(admin: Admin, stream: Stream, partition: int) -> Committed | None:
    """Return the group's committed offset for a partition, if it has one."""
    found = await kafka_admin.committed_offsets(admin, stream.consumer_group, stream.raw_topic, [partition])
    return Committed.of(found, partition)
