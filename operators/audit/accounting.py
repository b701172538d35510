"""Whether a raw record without a row is accounted for. Pure."""

from datetime import datetime

import msgspec

from processor.core.reading import Read, Reading
from schemas.times import EARLIEST, moment_of


class Gone(msgspec.Struct, frozen=True):
    """What retention may have deleted: dead letters received before `letters`, and before `strays` observations of
    shipments that never got a row."""

    letters: datetime
    strays: datetime


def is_accounted(reading: Reading, gone: Gone, *, row: bool, retired: bool, recovered: bool) -> bool:
    """Whether there is a reason why a record that was applied has neither an observation nor a dead letter.

    `row`: its shipment has one in `shipments`; `retired`: and its history was given up. `recovered`: a recovery has
    worked on the partition, which stores no dead letters of what it derives. A record of an impossible time counts as
    received long ago.
    """
    received = moment_of(reading.record.timestamp_ms) or EARLIEST
    if not isinstance(reading, Read):
        return recovered or received < gone.letters
    if reading.root is not None:
        return True  # read again without effect
    return retired or (not row and received < gone.strays)
