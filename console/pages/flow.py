"""`/flow`: what came of raw records over the last hours, and how fast: pictures, and the numbers they are made of."""

from typing import Final

import msgspec

from console.looks import Seen
from console.page import Asked, Context, Page
from console.pages.couriers import NoQuery
from operators.views.flow import Flow


class FlowPage(msgspec.Struct, frozen=True):
    """The flow of the last six hours, for everybody who looks, half a minute old at most."""

    flow: Seen[Flow]


async def load(context: Context, _query: NoQuery, _asked: Asked) -> FlowPage:
    """Return the flow."""
    return FlowPage(await context.looks.flow.latest())


FLOW: Final = Page(
    "flow",
    "/flow",
    "Flow",
    "What came of raw records over the last hours, minute by minute; how late they were recorded; what they told.",
    NoQuery,
    FlowPage,
    load,
)
