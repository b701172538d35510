"""`/couriers`: when each courier last spoke, and what its webhooks leave out."""

import msgspec

from console.looks import Seen
from console.page import Asked, Context, Page
from operators.views.attention import LastWebhook, last_webhooks
from operators.views.drift import Drift


class NoQuery(msgspec.Struct, frozen=True):
    """Nothing is asked."""


class CouriersPage(msgspec.Struct, frozen=True):
    """The couriers. `on` are those whose webhooks this process's settings let in. `drift` is of the last 24 hours.

    While it is counted, `drift.under_way` says so: ask again for it.
    """

    on: tuple[str, ...]
    last_webhooks: tuple[LastWebhook, ...]
    drift: Seen[Drift]


async def load(context: Context, _query: NoQuery, _asked: Asked) -> CouriersPage:
    """Return what is known of the couriers. Drift takes seconds to count: nobody waits for it, the page asks again."""
    async with context.database.pool.acquire() as connection:
        spoke = await last_webhooks(connection)
    return CouriersPage(context.settings.couriers_on, tuple(spoke), await context.looks.drift.latest(patience=0))


COURIERS_PAGE = Page(
    "couriers",
    "/couriers",
    "Couriers",
    "When each courier last spoke; which webhooks never come, how late they are, what asking has healed.",
    NoQuery,
    CouriersPage,
    load,
)
