-- What operators' commands need: decisions, re-readings, jobs, a log, and storage that lasts.

alter table shipments
    add column erased_at timestamptz,
    add column retired_at timestamptz;

comment on column shipments.erased_at is 'When its personal data was erased on request. None is taken in since.';
comment on column shipments.retired_at is 'When its history was given up after long silence. Only this row is left.';

create index shipments_of_order on shipments (order_id) where order_id is not null;
create index shipments_of_awb on shipments (awb) where awb is not null;
create index shipments_under_way on shipments (updated_at) where not final;
create index shipments_retired on shipments (updated_at) where retired_at is not null;
create index shipments_to_retire on shipments (updated_at) where final and retired_at is null;

alter table observations
    add column replay_of_partition integer,
    add column replay_of_offset bigint,
    add column command_id text,
    add check ((replay_of_partition is null) = (replay_of_offset is null));

create index observations_at on observations (incarnation, raw_partition, raw_offset);

create index observations_read_again on observations (replay_of_partition, replay_of_offset)
    where replay_of_offset is not null;

comment on column observations.replay_of_partition is 'Of a record read again: the root record''s partition.';
comment on column observations.replay_of_offset is 'Of a record read again: the root record''s offset.';
comment on column observations.command_id is 'Of a record that a tool appended: what makes it apply once.';

alter table outputs alter column value drop not null;

create index outputs_dead_letters on outputs (recorded_at) where topic = 'courier.webhooks.raw.dlq';
create index outputs_anomalies on outputs (recorded_at) where topic = 'shipment.anomalies';
create index outputs_anomalies_of_shipment on outputs (shipment_id) where topic = 'shipment.anomalies';

comment on column outputs.value is 'The Kafka value; null makes a tombstone.';

alter table cursors
    add column records bigint not null default 0,
    add column rowless bigint not null default 0;

comment on column cursors.records is 'Records applied in this incarnation: observations, dead letters, and those of rowless.';
comment on column cursors.rowless is 'Records applied that have no row: re-readings without effect, and what retention deleted.';

update cursors set records = (
    select count(*) from observations
    where observations.raw_partition = cursors.raw_partition and observations.incarnation = cursors.incarnation
) + (
    select count(*) from outputs
    where outputs.raw_partition = cursors.raw_partition and outputs.incarnation = cursors.incarnation
    and topic = 'courier.webhooks.raw.dlq'
);

create table applied_commands (
    command_id text collate "C" primary key,
    raw_partition integer not null,
    raw_offset bigint not null,
    outcome text not null check (outcome in ('event', 'duplicate', 'anomaly', 'unchanged', 'dead_letter')),
    applied_at timestamptz not null
);

comment on table applied_commands is 'Records that tools appended and what came of them. Each command id applies once.';
comment on column applied_commands.command_id is '<job>/<partition>:<offset> of a record read again; else a random name.';
comment on column applied_commands.raw_partition is 'The appended record: its partition.';
comment on column applied_commands.raw_offset is 'The appended record: its offset.';
comment on column applied_commands.outcome is 'What came of it.';
comment on column applied_commands.applied_at is 'When it was applied.';

create table replay_jobs (
    job text collate "C" primary key,
    mode text not null check (mode in ('reprocess', 'republish', 'redrive')),
    selection json not null,
    to_topic text,
    rate integer,
    status text not null check (status in ('running', 'paused', 'cancelled', 'failed', 'done')),
    detail text,
    operator text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
);

comment on table replay_jobs is 'Replays, and redrives of dead letters: what was asked for and how far it is.';
comment on column replay_jobs.job is 'Its name. Its command ids begin with it.';
comment on column replay_jobs.mode is 'reprocess, republish or redrive.';
comment on column replay_jobs.selection is 'The range and what narrows it, as it was understood at the start.';
comment on column replay_jobs.to_topic is 'Of a republish: the topic it writes.';
comment on column replay_jobs.rate is 'Records a second; null: as fast as it goes.';
comment on column replay_jobs.status is 'running, paused, cancelled, failed or done. Running without a runner: interrupted.';
comment on column replay_jobs.detail is 'Why it failed.';
comment on column replay_jobs.operator is 'Who began it.';
comment on column replay_jobs.created_at is 'When it was begun.';
comment on column replay_jobs.updated_at is 'When it last changed.';

create table replay_positions (
    job text collate "C" not null references replay_jobs on delete cascade,
    raw_partition integer not null,
    next_offset bigint not null,
    until_offset bigint not null,
    appended bigint not null default 0,
    passed_over bigint not null default 0,
    primary key (job, raw_partition)
);

comment on table replay_positions is 'How far a job is in each partition.';
comment on column replay_positions.job is 'The job.';
comment on column replay_positions.raw_partition is 'The partition of the root records.';
comment on column replay_positions.next_offset is 'The first offset not dealt with.';
comment on column replay_positions.until_offset is 'Where it ends.';
comment on column replay_positions.appended is 'Records appended or published so far.';
comment on column replay_positions.passed_over is 'Records of the range that are not of the selection.';

create table dead_letter_decisions (
    incarnation bigint not null,
    raw_partition integer not null,
    raw_offset bigint not null,
    decision text not null check (decision in ('redriven', 'dropped')),
    command_id text,
    operator text not null,
    reason text,
    decided_at timestamptz not null,
    primary key (incarnation, raw_partition, raw_offset)
);

comment on table dead_letter_decisions is 'What operators did with dead letters.';
comment on column dead_letter_decisions.incarnation is 'The incarnation of the raw record''s coordinates.';
comment on column dead_letter_decisions.raw_partition is 'The raw record: its partition.';
comment on column dead_letter_decisions.raw_offset is 'The raw record: its offset.';
comment on column dead_letter_decisions.decision is 'redriven or dropped.';
comment on column dead_letter_decisions.command_id is 'Of a redriven one: leads to what came of it.';
comment on column dead_letter_decisions.operator is 'Who decided.';
comment on column dead_letter_decisions.reason is 'Why.';
comment on column dead_letter_decisions.decided_at is 'When.';

create table operator_log (
    id bigint generated always as identity primary key,
    operator text not null,
    command text not null,
    detail json not null,
    logged_at timestamptz not null default now()
);

create index operator_log_by_time on operator_log (logged_at);

comment on table operator_log is 'Who changed what, and who looked at personal data. Only ever added to.';
comment on column operator_log.id is 'Its number.';
comment on column operator_log.operator is 'Who: WAYBILL_OPERATOR, else the name of the system''s user.';
comment on column operator_log.command is 'The command, such as shipment set-status.';
comment on column operator_log.detail is 'What it was told and what it did.';
comment on column operator_log.logged_at is 'When.';
