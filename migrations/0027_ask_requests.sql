-- Operators may ask for a courier to be asked about a shipment: the reconcile service, which has the keys, does it.

create table ask_requests (
    request text primary key,
    shipment_id text not null,
    operator text not null,
    reason text not null,
    requested_at timestamptz not null,
    taken_at timestamptz,
    ended_at timestamptz,
    outcome text check (
        outcome in ('news', 'no_news', 'not_found', 'throttled', 'failed', 'refused', 'moved', 'not_asked')
    ),
    appended integer not null default 0,
    detail text,
    constraint ask_requests_ended check ((ended_at is null) = (outcome is null))
);

comment on table ask_requests is 'Asks that operators asked for, and what came of them. They are kept for 30 days.';
comment on column ask_requests.request is 'Its id: the form or command that asked for it has it, so that it asks once.';
comment on column ask_requests.shipment_id is 'The shipment.';
comment on column ask_requests.operator is 'Who asked for it.';
comment on column ask_requests.reason is 'Why.';
comment on column ask_requests.requested_at is 'When it was asked for.';
comment on column ask_requests.taken_at is 'When the reconcile service took it up; written before the courier is asked.';
comment on column ask_requests.ended_at is 'When it was answered; null: it waits, or is under way.';
comment on column ask_requests.outcome is
    'What came of it. moved: an event came before the courier was asked; not_asked: the service does not ask this courier.';
comment on column ask_requests.appended is 'Raw records appended: what the courier told and was not known.';
comment on column ask_requests.detail is 'Why it failed, was refused or not asked. Nothing of the answer is in it.';

-- One waits for a shipment at a time.
create unique index ask_requests_waiting on ask_requests (shipment_id) where ended_at is null;
create index ask_requests_of_shipment on ask_requests (shipment_id, requested_at);
create index ask_requests_by_end on ask_requests (ended_at) where ended_at is not null;
