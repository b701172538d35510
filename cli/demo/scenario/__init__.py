"""The bundled deliveries: stories of parcels as data, and the check of what came of them."""

from cli.demo.scenario.check import (
    Difference,
    Expectation,
    ExpectedAnomaly,
    ExpectedEvent,
    Seen,
    differences,
    everything_came,
)
from cli.demo.scenario.story import Delivery, Healing, Play, Story, Webhook, load_stories, play

__all__ = [
    "Delivery",
    "Difference",
    "Expectation",
    "ExpectedAnomaly",
    "ExpectedEvent",
    "Healing",
    "Play",
    "Seen",
    "Story",
    "Webhook",
    "differences",
    "everything_came",
    "load_stories",
    "play",
]
