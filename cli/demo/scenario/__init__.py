"""The bundled deliveries: stories of parcels as data, and the check of what came of them."""

from cli.demo.scenario.check import (
    Expectation,
    ExpectedAnomaly,
    ExpectedEvent,
    Mismatch,
    Seen,
    differences,
    everything_came,
)
from cli.demo.scenario.story import Delivery, Healing, Play, Story, Webhook, load_stories, play

__all__ = [
    "Delivery",
    "Expectation",
    "ExpectedAnomaly",
    "ExpectedEvent",
    "Healing",
    "Mismatch",
    "Play",
    "Seen",
    "Story",
    "Webhook",
    "differences",
    "everything_came",
    "load_stories",
    "play",
]
