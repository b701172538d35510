"""The numbers of PostgreSQL's advisory locks: each keeps a second one of the same work away.

Old and new versions of Waybill exclude each other by them, so a number never changes. Two more are taken in SQL, one
for each of many: of a replay's job (`operators/replay/queries.sql`: a hash of "waybill replay" and the job's name), and
of a courier account's asking (`reconcile/queries.sql`: two numbers, the first of which is 2002876770).
"""

from enum import IntEnum


class LockNumber(IntEnum):
    """Which work a lock lets only one do at a time."""

    MIGRATION = 0x77617962696C6C
    """"waybill" in ASCII."""
    RECOVERY = 0x726563766572
    """"recver" in ASCII."""
    REDRIVE = 0x7761_7962_0001
    RETENTION = 0x7761_7962_0002
