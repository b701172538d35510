"""The console's pages, each once."""

from typing import Final

from console.page import Page
from console.pages.anomalies import ANOMALIES
from console.pages.attention import ATTENTION
from console.pages.contract import CONTRACT
from console.pages.couriers import COURIERS_PAGE
from console.pages.dead_letters import DEAD_LETTER, DEAD_LETTERS
from console.pages.flow import FLOW
from console.pages.log import LOG
from console.pages.replays import REPLAYS
from console.pages.shipment import SHIPMENT
from console.pages.shipments import SHIPMENTS
from console.pages.tail import TAIL

PAGES: Final[tuple[Page, ...]] = (
    ATTENTION,
    SHIPMENTS,
    SHIPMENT,
    ANOMALIES,
    DEAD_LETTERS,
    DEAD_LETTER,
    REPLAYS,
    TAIL,
    FLOW,
    COURIERS_PAGE,
    LOG,
    CONTRACT,
)
"""Every page; those without a `{name}` in their path stand in the navigation, in this order."""
