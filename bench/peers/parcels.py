"""What both FastStream programs make of a webhook: the parcel's row, a row of its history, and its event.

The last webhook to come is the parcel's status: neither order nor repeats are looked at.
"""

from datetime import UTC, datetime

from pydantic import BaseModel

TABLES = """
create table parcels (
    id text primary key,
    status text not null,
    courier_status text not null,
    order_id text,
    failed_count integer not null,
    occurred_at timestamptz not null,
    driver text,
    reason text,
    version bigint not null,
    updated_at timestamptz not null default now()
);
create index on parcels (updated_at);
create table history (
    id text not null,
    version bigint not null,
    partition integer not null,
    "offset" bigint not null,
    event text not null,
    primary key (id, version)
);
"""

HISTORY_COLUMNS = ("id", "version", "partition", "offset", "event")

STATUSES = {
    "QUEUEING": "CREATED",
    "PREPARING": "CREATED",
    "COMPLETED": "DELIVERED",
    "PENDING_RETURN": "RETURNING",
    "IN_RETURN": "RETURNING",
    "EXPIRED": "CANCELLED",
}
"""Words that mean a status of another name; the others are their own."""

FINAL = {"DELIVERED", "CANCELLED", "RETURNED"}


class Driver(BaseModel):
    name: str | None = None
    phone: str | None = None


class Recipient(BaseModel):
    actualRecipientName: str | None = None  # noqa: N815  (these are the courier's names)


class Quote(BaseModel):
    amount: int | None = None


class Picture(BaseModel):
    type: str | None = None
    url: str
    createdAt: datetime | None = None  # noqa: N815


class Webhook(BaseModel):
    deliveryID: str  # noqa: N815
    status: str
    providerOrderID: str | None = None  # noqa: N815
    failedCount: int = 0  # noqa: N815
    courier: Driver | None = None
    recipient: Recipient | None = None
    quote: Quote | None = None
    media: list[Picture] = []
    trackingURL: str | None = None  # noqa: N815
    failedReason: str | None = None  # noqa: N815
    cancelledReason: str | None = None  # noqa: N815
    updatedAt: datetime | None = None  # noqa: N815
    pickupAt: datetime | None = None  # noqa: N815
    completedAt: datetime | None = None  # noqa: N815
    failedAt: datetime | None = None  # noqa: N815
    cancelledAt: datetime | None = None  # noqa: N815

    @property
    def meaning(self) -> str:
        """The status that the word means."""
        return STATUSES.get(self.status, self.status)

    @property
    def occurred_at(self) -> datetime:
        """The word's own time, else when the delivery was last changed, else now."""
        own = self.completedAt or self.failedAt or self.cancelledAt
        return own or self.updatedAt or datetime.now(UTC)

    @property
    def reason(self) -> str | None:
        """Why it failed or was cancelled."""
        return self.failedReason or self.cancelledReason


class Event(BaseModel):
    id: str
    shipment_id: str
    version: int
    order_id: str | None
    status: str
    final: bool
    courier_status: str
    failed_count: int
    occurred_at: datetime
    recorded_at: datetime
    reason: str | None
    charges: int | None
    driver: Driver | None
    signed_by: str | None
    tracking_url: str | None
    proofs: list[Picture]
    partition: int
    offset: int


def event_of(webhook: Webhook, version: int, partition: int, offset: int) -> bytes:
    """Return the event of a webhook: its values in our words, as JSON."""
    status = webhook.meaning
    event = Event(
        id=f"{webhook.deliveryID}/{version}",
        shipment_id=webhook.deliveryID,
        version=version,
        order_id=webhook.providerOrderID,
        status=status,
        final=status in FINAL,
        courier_status=webhook.status,
        failed_count=webhook.failedCount,
        occurred_at=webhook.occurred_at,
        recorded_at=datetime.now(UTC),
        reason=webhook.reason,
        charges=webhook.quote.amount if webhook.quote else None,
        driver=webhook.courier,
        signed_by=webhook.recipient.actualRecipientName if webhook.recipient else None,
        tracking_url=webhook.trackingURL,
        proofs=webhook.media,
        partition=partition,
        offset=offset,
    )
    return event.model_dump_json().encode()
