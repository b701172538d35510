"""The record by which a raw record is read again. Pure."""

import msgspec

from processor.core.reading import Read, Reading, ZoneOf, read
from schemas.partitioning import partition_of
from schemas.records import RawRecord, reread_headers


def reread(root: RawRecord, command_id: str, zone_of: ZoneOf, partitions: int) -> Reading:
    """Return the record that makes `root` be read again, with key and partition computed anew, and its reading."""
    headers = tuple(reread_headers(root, command_id))
    again = msgspec.structs.replace(root, partition=0, headers=headers)
    reading = read(again, zone_of, partitions=1)  # of one partition, so that none is the wrong one
    key = reading.observation.shipment_id.encode() if isinstance(reading, Read) else root.key
    home = partition_of(key, partitions) if key else root.partition
    return msgspec.structs.replace(reading, record=msgspec.structs.replace(again, partition=home, key=key))
