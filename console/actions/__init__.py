"""The console's actions, each once."""

from typing import Final

from console.actions.action import Action
from console.actions.anomalies import ACCEPT, DISMISS
from console.actions.redrive import REDRIVE
from console.actions.replay import CANCEL, PAUSE, REPLAY, RESUME
from console.actions.shipment import ASK, ERASE, SET_STATUS

ACTIONS: Final[tuple[Action, ...]] = (ACCEPT, DISMISS, SET_STATUS, ERASE, ASK, REDRIVE, REPLAY, PAUSE, RESUME, CANCEL)
"""Every action."""
