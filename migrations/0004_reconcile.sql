-- What the asking of couriers needs to remember, and what its report is read from.

create table reconcile_asks (
    shipment_id text primary key,
    asked_at timestamptz not null,
    next_ask_at timestamptz not null,
    fruitless integer not null,
    failures integer not null,
    outcome text check (outcome in ('news', 'no_news', 'not_found', 'throttled', 'failed', 'refused'))
);

comment on table reconcile_asks is 'When couriers were asked about shipments under way, and when they may be again.';
comment on column reconcile_asks.shipment_id is 'The shipment.';
comment on column reconcile_asks.asked_at is 'When it was last asked about; written before the courier is asked.';
comment on column reconcile_asks.next_ask_at is 'It is left alone until then, unless it moves before.';
comment on column reconcile_asks.fruitless is 'Answers in a row that told nothing new. Each doubles the pause.';
comment on column reconcile_asks.failures is 'Asks in a row that got no answer. Each doubles the pause.';
comment on column reconcile_asks.outcome is 'What came of it; null: it is being asked, or the asker was killed meanwhile.';

-- A report reads the rows of some days. They lie in the order of their time: block ranges find them, at next to no cost
-- for those who write.
create index observations_by_time on observations using brin (recorded_at) with (autosummarize = on);
