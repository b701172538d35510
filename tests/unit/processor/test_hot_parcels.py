"""What a webhook costs, counted: independent of the history's length in order, bounded when late."""

from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from processor.core import fold, timeline
from processor.core.plan import Planner
from tests.hot_parcels import KINDS, ORDERS, START, Body, hot_records, in_order
from tests.property.driving import RAW_TOPIC, readings_of

COUNT = 600


class Steps:
    """How often an entry was judged, and how often stretches were added up."""

    def __init__(self) -> None:
        self.judged = 0
        self.added = 0


@pytest.fixture
def steps() -> Iterator[Steps]:
    steps = Steps()

    def counted_advance(*arguments: Any, **named: Any) -> Any:
        steps.judged += 1
        return fold.advance(*arguments, **named)

    def counted_joined(*arguments: Any, **named: Any) -> Any:
        steps.added += 1
        return fold.joined(*arguments, **named)

    with (
        patch("processor.core.stretches.advance", counted_advance),
        patch("processor.core.stretches.joined", counted_joined),
    ):
        yield steps


def planned(kind: Callable[[int], Body], numbers: list[int]) -> None:
    Planner({}, RAW_TOPIC, START).add_all(readings_of(hot_records(kind, numbers)))


@pytest.mark.parametrize("kind", KINDS, ids=lambda each: each.__name__)
def test_in_order_each_webhook_is_judged_once(kind: Callable[[int], Body], steps: Steps) -> None:
    """But for the first few, whose service may be proven to be another one."""
    planned(kind, in_order(COUNT))
    assert steps.judged <= COUNT + 20
    assert steps.added <= COUNT + 20


@pytest.mark.parametrize("order", ORDERS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("kind", KINDS, ids=lambda each: each.__name__)
def test_late_each_webhook_costs_a_stretch(
    kind: Callable[[int], Body], order: Callable[[int], list[int]], steps: Steps
) -> None:
    """A stretch is judged again, two halves of one when it is full; all behind it are added up at the most."""
    planned(kind, order(COUNT))
    stretches = 2 * COUNT // timeline.FULL
    assert steps.judged <= COUNT * 1.5 * timeline.FULL
    assert steps.added <= COUNT * stretches
