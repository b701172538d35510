"""A door with a fake publisher, for every test that posts to one."""

from collections.abc import AsyncIterator

import pytest

from tests.unit.ingest.doors import FakePublisher, RunningDoor, running_door


@pytest.fixture
def publisher() -> FakePublisher:
    return FakePublisher()


@pytest.fixture
async def door(publisher: FakePublisher) -> AsyncIterator[RunningDoor]:
    async with running_door(publisher) as running:
        yield running
