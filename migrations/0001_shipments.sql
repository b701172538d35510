-- What the processor keeps: shipments, the observations they are folded from, what is to be published, how far it is.

create table shipments (
    shipment_id text primary key,
    courier text not null,
    account text,
    service text not null,
    courier_ref text not null,
    order_id text,
    awb text,
    status text not null,
    phase text not null,
    final boolean not null,
    courier_status text not null,
    failed_count integer not null,
    carrier json,
    charges json,
    reason text,
    description text,
    personal json not null,
    occurred_at timestamptz not null,
    occurred_at_source text not null,
    version bigint not null check (version > 0),
    updated_at timestamptz not null
);

comment on table shipments is 'Each shipment''s newest snapshot: the fold of its observations.';
comment on column shipments.shipment_id is '<courier>:<reference>, or <courier>.<account>:<reference>.';
comment on column shipments.courier is 'Who told it: dash, kiriminaja.';
comment on column shipments.account is 'The merchant account of the door that took it; null without one.';
comment on column shipments.service is 'express, logistic or instant. It decides the transition table.';
comment on column shipments.courier_ref is 'The courier''s reference: Dash deliveryID; KiriminAja order_id, else AWB.';
comment on column shipments.order_id is 'The merchant''s order: Dash providerOrderID, KiriminAja order_id.';
comment on column shipments.awb is 'The airway bill.';
comment on column shipments.status is 'The canonical status.';
comment on column shipments.phase is 'The coarse stage of the status.';
comment on column shipments.final is 'No further status is expected.';
comment on column shipments.courier_status is 'The courier''s own word, of the newest accepted observation.';
comment on column shipments.failed_count is 'Failed attempts: Dash''s failedCount; for KiriminAja counted by the fold.';
comment on column shipments.carrier is 'Who carries for an aggregator: {code, service}.';
comment on column shipments.charges is 'What it costs, in whole units: {currency, shipping, cod, insurance}.';
comment on column shipments.reason is 'Why it stands so, in the courier''s words.';
comment on column shipments.description is 'The courier''s scan text.';
comment on column shipments.personal is 'Personal data: {driver, signed_by, tracking_url, proofs}.';
comment on column shipments.occurred_at is 'When the newest accepted observation happened.';
comment on column shipments.occurred_at_source is 'courier (zone given), assumed_zone, or received (no time given).';
comment on column shipments.version is 'Counts the shipment''s events, from 1, without gaps.';
comment on column shipments.updated_at is 'When the newest event was recorded.';

create table observations (
    shipment_id text not null,
    raw_partition integer not null,
    raw_offset bigint not null,
    outcome text not null check (outcome in ('event', 'duplicate', 'anomaly', 'unchanged')),
    anomaly_kind text,
    version bigint,
    kept boolean not null,
    reading json not null,
    recorded_at timestamptz not null,
    primary key (shipment_id, raw_partition, raw_offset)
);

comment on table observations is 'What each raw record said about its shipment, and what it led to. Only ever added to.';
comment on column observations.shipment_id is 'The shipment it is about.';
comment on column observations.raw_partition is 'The raw record: its partition.';
comment on column observations.raw_offset is 'The raw record: its offset.';
comment on column observations.outcome is 'What it led to when it was applied. Fixed then.';
comment on column observations.anomaly_kind is 'Of an anomaly: illegal_transition or unknown_status.';
comment on column observations.version is 'Of an event: its version.';
comment on column observations.kept is 'It takes part in the fold or in telling repeats; false for a plain repeat.';
comment on column observations.reading is 'The reading: word, status, times, details, digests.';
comment on column observations.recorded_at is 'When it was applied.';

create table outputs (
    raw_partition integer not null,
    cause_offset bigint not null,
    ordinal smallint not null,
    topic text not null,
    key bytea,
    value bytea not null,
    headers bytea,
    shipment_id text,
    version bigint,
    recorded_at timestamptz not null,
    primary key (raw_partition, cause_offset, ordinal)
);

create index outputs_of_shipment on outputs (shipment_id, version) where version is not null;

comment on table outputs is 'What each raw record published, to the byte. A claim publishes again from here.';
comment on column outputs.raw_partition is 'The partition, of the raw record and of the output.';
comment on column outputs.cause_offset is 'The offset of the raw record being applied.';
comment on column outputs.ordinal is 'The place among the record''s outputs.';
comment on column outputs.topic is 'The topic, without the prefix. An event also leaves the state, which follows from it.';
comment on column outputs.key is 'The Kafka key.';
comment on column outputs.value is 'The Kafka value.';
comment on column outputs.headers is 'A dead letter''s headers (MessagePack); the others'' follow from the value.';
comment on column outputs.shipment_id is 'The shipment, if the output is about one.';
comment on column outputs.version is 'Of an event: its version.';
comment on column outputs.recorded_at is 'When it was recorded; the Kafka timestamp.';

create table cursors (
    raw_partition integer primary key,
    raw_topic text not null,
    partitions integer not null,
    consumer_group text not null,
    epoch bigint not null,
    next_offset bigint not null,
    emitted bigint not null check (emitted <= next_offset),
    updated_at timestamptz not null
);

comment on table cursors is 'How far each partition of the raw topic is applied. Postgres leads; Kafka follows.';
comment on column cursors.raw_partition is 'The partition.';
comment on column cursors.raw_topic is 'The raw topic''s full name.';
comment on column cursors.partitions is 'How many partitions the raw topic has.';
comment on column cursors.consumer_group is 'The group whose committed offsets follow.';
comment on column cursors.epoch is 'The token of the claim that may write. A new claim changes it.';
comment on column cursors.next_offset is 'The first offset not applied yet.';
comment on column cursors.emitted is 'Everything before is known to be published. May lag behind the truth.';
comment on column cursors.updated_at is 'When it last moved.';
