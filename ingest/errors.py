"""What can go wrong between a courier's request and its answer."""


class IngestError(Exception):
    """A webhook was not accepted."""


class BodyTooLargeError(IngestError):
    """A body is larger than the limit, as it came or decompressed."""


class BrokenEncodingError(IngestError):
    """A body's content-encoding is unknown, stacked, or its data is broken. The text says which."""


class UnavailableError(IngestError):
    """No store can take the records now. A repeated webhook may be accepted."""

    def __init__(self, why: str = "", acknowledged: int = 0) -> None:
        """Keep how many of the records, from the first on, are durable all the same."""
        super().__init__(why)
        self.acknowledged = acknowledged


class OverloadedError(IngestError):
    """Too much is in memory already. A repeated webhook may be accepted."""


class RefusedError(UnavailableError):
    """Kafka does not take the records because of what one of them is, now and later. The text says why."""


class DoubtfulError(UnavailableError):
    """Kafka does not take the records, for one of them or for none: the text says in which words, if it names any."""


class SpoolError(IngestError):
    """The spool's disk is full or broken. The text says which."""


class BrokenOffError(IngestError):
    """A body did not arrive whole. The text says why."""
