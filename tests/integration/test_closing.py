"""What a look opens at a store it closes when another one is away: an unclosed client would complain at its end."""

import gc
from collections.abc import Awaitable, Callable

import pytest

from devstack.ports import free_ports
from operators.audit.report import Scope
from operators.audit.run import audit
from operators.views.lag import find_lag
from processor.recovery.run import halted
from runtime.errors import UnreachableError
from runtime.settings import Settings
from tests.integration.system import System, new_system

Look = Callable[[Settings], Awaitable[object]]


@pytest.fixture
def system(kafka_bootstrap_servers: str, topic_prefix: str) -> System:
    """A system whose database is away."""
    (nowhere,) = free_ports(1)
    return new_system(kafka_bootstrap_servers, f"postgresql://waybill@127.0.0.1:{nowhere}/waybill", topic_prefix)


@pytest.mark.parametrize(
    "look",
    [find_lag, halted, lambda settings: audit(settings, Scope(), lambda _: None)],
    ids=["lag", "recover", "audit"],
)
async def test_nothing_stays_open_when_the_database_is_away(system: System, look: Look) -> None:
    with pytest.raises(UnreachableError):
        await look(system.settings)
    gc.collect()
