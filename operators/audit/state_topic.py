"""What an audit reads in the state topic: the newest state of each shipment, as digests."""

from collections.abc import Callable, Iterable

import msgspec

from operators.audit.compare import unlike, unlike_fields
from operators.audit.content import Account, state_fields, told_by
from operators.audit.facts import Difference, Facts, PublishedState
from operators.audit.judge_state import published, read_state
from operators.audit.partition_reader import PartitionReader
from schemas.events import State
from schemas.topics import Topic


class States:
    """The newest published state of each shipment of a partition, as digests."""

    def __init__(self, tail: PartitionReader, holds: Callable[[str], bool]) -> None:
        """Keep those shipments' states that `holds` says."""
        self._tail = tail
        self._holds = holds
        self.newest: dict[str, PublishedState] = {}

    async def read_on(self) -> None:
        """Read to the topic's end."""
        async for records in self._tail.up_to(await self._tail.end()):
            for name, record in {_named(record.key): record for record in records}.items():
                if not self._holds(name):
                    continue
                if record.value is None:
                    self.newest.pop(name, None)
                else:
                    self.newest[name] = published(record.value, record.offset)

    def seen_by(self, facts: Facts) -> Facts:
        """Return the facts with what is published now."""
        return msgspec.structs.replace(facts, published=self.newest.get(facts.shipment_id))

    async def differences(self, facts: Facts, wanted: State | Account) -> Iterable[Difference]:
        """Read a published state again to say in which fields it differs."""
        assert facts.published is not None
        value = await self._tail.at(facts.published.offset)
        state = None if value is None else read_state(value)
        if state is None:  # compacted meanwhile
            return [Difference(Topic.STATE, "value", "as stored", "another", facts.partition, facts.shipment_id)]
        if isinstance(wanted, State):
            return unlike_fields(facts, Topic.STATE, state_fields(wanted), state_fields(state))
        return unlike(facts, Topic.STATE, wanted, told_by(state))


def _named(key: bytes | None) -> str:
    """Return the shipment that a record's key names, as PostgreSQL could have it: it takes no NUL."""
    return str(key or b"", "utf-8", "replace").replace("\0", "\ufffd")
