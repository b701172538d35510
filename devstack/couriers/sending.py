"""Sending webhooks as each courier does."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

import aiohttp
import msgspec

from devstack.couriers.webhooks import Told, Webhook

DASH_ATTEMPTS: Final = 3
RETRY_SECONDS: Final = 60.0
"""Dash: "3 attempts in total, 60 s apart, then the event is dropped"."""

KIRIMINAJA_ATTEMPTS: Final = 1
"""Its retries are not documented: it has none here."""

ANSWER_SECONDS: Final = 5.0
"""An attempt without an answer by then has failed: "Return 2xx within a few seconds"."""

AT_ONCE: Final = 4


def attempts_of(courier: str) -> int:
    """Return how often a courier sends a webhook that is not taken, the first time counted."""
    return DASH_ATTEMPTS if courier == "dash" else KIRIMINAJA_ATTEMPTS


def is_taken(status: int | None) -> bool:
    """Whether an attempt with this answer counts as delivered. None: no answer came in time."""
    return status is not None and 200 <= status < 300


class Receiver(msgspec.Struct, frozen=True):
    """Where the merchant wants its webhooks, and the secrets it gave to the couriers."""

    kiriminaja_url: str
    kiriminaja_token: str
    dash_url: str
    dash_header: str
    dash_secret: str


class Sent(msgspec.Struct, frozen=True):
    """What became of a webhook: the status each attempt was answered with, None where no answer came."""

    webhook: Webhook
    attempts: tuple[int | None, ...]

    @property
    def delivered(self) -> bool:
        """Tell whether the receiver took it. If not, the courier has dropped it."""
        return is_taken(self.attempts[-1])


async def send(
    webhooks: Sequence[Webhook], receiver: Receiver, *, time_scale: float = 1.0, at_once: int = AT_ONCE
) -> tuple[Sent, ...]:
    """Send the webhooks, and return once each is delivered or dropped, in the order given.

    `time_scale`: how long a second between attempts lasts. `at_once`: posts under way together; with 1 the first
    attempts arrive in order, while one that is repeated never holds up those behind it.
    """
    slots = asyncio.Semaphore(at_once)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(_send_one(session, slots, webhook, receiver, RETRY_SECONDS * time_scale))
            for webhook in webhooks
        ]
    return tuple(task.result() for task in tasks)


def unheard(dropped: Iterable[Webhook], sent: Iterable[Sent]) -> frozenset[Told]:
    """Name the moves that the receiver was never told of: by none of the webhooks that were delivered."""
    outcomes = list(sent)
    missing = {told for webhook in dropped for told in webhook.tells}
    missing |= {told for one in outcomes for told in one.webhook.tells}
    return frozenset(missing - {told for one in outcomes if one.delivered for told in one.webhook.tells})


async def _send_one(
    session: aiohttp.ClientSession, slots: asyncio.Semaphore, webhook: Webhook, receiver: Receiver, pause: float
) -> Sent:
    attempts: list[int | None] = []
    for _ in range(attempts_of(webhook.courier)):
        if attempts:
            await asyncio.sleep(pause)
        async with slots:
            attempts.append(await _post(session, webhook, receiver))
        if is_taken(attempts[-1]):
            break
    return Sent(webhook, tuple(attempts))


async def _post(session: aiohttp.ClientSession, webhook: Webhook, receiver: Receiver) -> int | None:
    url = receiver.dash_url if webhook.courier == "dash" else receiver.kiriminaja_url
    headers = _headers(webhook.courier, receiver)
    try:
        async with session.post(url, data=webhook.body, headers=headers, allow_redirects=False) as response:
            await response.read()
            return response.status
    except (aiohttp.ClientError, TimeoutError):
        return None


def _headers(courier: str, receiver: Receiver) -> dict[str, str]:
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if courier == "dash":
        return headers | {receiver.dash_header: receiver.dash_secret}
    return headers | {"Authorization": f"Bearer {receiver.kiriminaja_token}", "User-Agent": "KiriminAja-Push-Services"}
