"""The console's actions, each once."""

from typing import Final

from console.actions.action import Action
from console.actions.anomalies import ACCEPT, DISMISS
from console.actions.shipment import ERASE, SET_STATUS

ACTIONS: Final[tuple[Action, ...]] = (ACCEPT, DISMISS, SET_STATUS, ERASE)
"""Every action."""
