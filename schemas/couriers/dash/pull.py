"""How Dash is asked about one delivery: Get Delivery, with a token of its sign-in.

Source: facts.md ("Dash"): the token's life is not stated, "so ask anew on 401".
"""

import re
from typing import Final

from schemas.couriers.base import ApiSetting, NotFound, SignIn, Tracking, WebhookItem
from schemas.couriers.dash.envelope import word_of
from schemas.couriers.reading import identifier, members_of
from schemas.records import UnreadableError
from schemas.tolerant_json import load
from schemas.vocabulary import DeadLetterReason

_TOKEN: Final = re.compile(r"[!-~]+", re.ASCII)
"""What a bearer token may consist of: no white space, no line break."""


def pieces(answer: bytes, reference: str) -> list[WebhookItem] | NotFound:
    """Return one piece: Get Delivery answers in the webhook's envelope.

    Raises:
        UnreadableError: the answer is malformed or about another delivery.

    """
    delivery = load(answer)
    if word_of(delivery) is None:
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "not an object with a status")
    if identifier(delivery.get("deliveryID")) != reference:
        raise UnreadableError(DeadLetterReason.NO_SHIPMENT, "the answer is about another delivery")
    return [WebhookItem(answer, reference)]


def token_of(answer: bytes) -> str:
    """Read the answer of `POST /v1/auth/providers/token`: the bearer token for Get Delivery.

    Raises:
        UnreadableError: there is no token in it.

    """
    token = members_of(load(answer)).get("token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise UnreadableError(DeadLetterReason.UNKNOWN_SHAPE, "no token that a header can carry")
    return token


TRACKING: Final = Tracking(
    address=ApiSetting("DASH_API_URL", "where Dash's deliveries are asked for; empty: it is not asked"),
    access=SignIn(
        "/v1/auth/providers/token",
        {
            "client_key": ApiSetting("DASH_CLIENT_KEY", "the merchant's client key at Dash's API"),
            "client_secret": ApiSetting("DASH_CLIENT_SECRET", "the merchant's client secret at Dash's API"),
        },
        token_of,
    ),
    method="GET",
    path="/v1/deliveries/{reference}",
    unknown_is_404=True,
    pieces=pieces,
)
