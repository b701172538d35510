"""What waits in a partition, for the metrics: right whatever its worker does, as long as Kafka answers. Pure."""

import msgspec


class Oldest(msgspec.Struct, frozen=True):
    """The record that waits longest: its offset, and when it was received, in seconds since the epoch.

    Not `exact`: when a record near it was received, or when it was first seen to wait.
    """

    offset: int
    received: float
    exact: bool = True


class Waiting(msgspec.Struct):
    """What is known of a partition: what its worker does tells it, and a look at the log.

    `next_offset` is the first offset not applied; None before anything is known of it.
    """

    next_offset: int | None = None
    log_start: int = 0
    log_end: int = 0
    oldest: Oldest | None = None

    @property
    def first(self) -> int:
        """The offset of the record that waits longest, if one does: what retention has removed waits no more."""
        return max(self.next_offset or 0, self.log_start)

    @property
    def records(self) -> int:
        """How many records wait."""
        return max(0, self.log_end - self.first)

    @property
    def needs_a_look(self) -> bool:
        """Whether a record waits of which it is not known since when."""
        return self.records > 0 and not (self.oldest and self.oldest.exact and self.oldest.offset == self.first)

    def age(self, now: float) -> float:
        """Return for how many seconds the oldest record has waited; 0 where none waits."""
        if not self.records or self.oldest is None:
            return 0.0
        return max(0.0, now - self.oldest.received)

    def applied(self, next_offset: int, received: float) -> None:
        """Take note that everything before `next_offset` is applied; the last of it was received then."""
        self.next_offset = next_offset
        self.oldest = Oldest(next_offset, received, exact=False) if next_offset < self.log_end else None

    def log_is(self, start: int, end: int, now: float) -> None:
        """Take note of the log's first offset and the one behind its last."""
        self.log_start, self.log_end = start, end
        if self.needs_a_look and (self.oldest is None or self.oldest.offset != self.first):
            self.oldest = Oldest(self.first, now, exact=False)
