-- The whole schema as the migrations make it, to be read: `waybill migrate` makes it. Written by `make tables`; a test
-- fails when it and the migrations differ.

create type written_shipment as (
    shipment_id text,
    courier text,
    account text,
    courier_ref text,
    status text,
    phase text,
    final boolean,
    courier_status text,
    service text,
    failed_count integer,
    occurred_at timestamp with time zone,
    occurred_at_source text,
    order_id text,
    awb text,
    carrier json,
    charges json,
    reason text,
    description text,
    personal json,
    version bigint,
    updated_at timestamp with time zone
);
comment on type written_shipment is 'A row of shipments as it is written. What wants other columns takes another type.';

create table applied_commands (
    command_id text collate "C" not null,
    raw_partition integer not null,
    raw_offset bigint not null,
    outcome text not null,
    applied_at timestamp with time zone not null,
    constraint applied_commands_pkey PRIMARY KEY (command_id),
    constraint applied_commands_outcome_check CHECK (outcome = ANY (ARRAY['event'::text, 'duplicate'::text, 'anomaly'::text, 'unchanged'::text, 'dead_letter'::text]))
) with (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=100000, autovacuum_analyze_scale_factor=0.02);

comment on table applied_commands is 'Records that tools appended and what came of them. Each command id applies once.';
comment on column applied_commands.command_id is '<job>/<partition>:<offset> of a record read again; else a random name.';
comment on column applied_commands.raw_partition is 'The appended record: its partition.';
comment on column applied_commands.raw_offset is 'The appended record: its offset.';
comment on column applied_commands.outcome is 'What came of it.';
comment on column applied_commands.applied_at is 'When it was applied.';

create table ask_requests (
    request text not null,
    shipment_id text not null,
    operator text not null,
    reason text not null,
    requested_at timestamp with time zone not null,
    taken_at timestamp with time zone,
    ended_at timestamp with time zone,
    outcome text,
    appended integer not null default 0,
    detail text,
    constraint ask_requests_pkey PRIMARY KEY (request),
    constraint ask_requests_ended CHECK ((ended_at IS NULL) = (outcome IS NULL)),
    constraint ask_requests_outcome_check CHECK (outcome = ANY (ARRAY['news'::text, 'no_news'::text, 'not_found'::text, 'throttled'::text, 'failed'::text, 'refused'::text, 'moved'::text, 'not_asked'::text]))
);

CREATE INDEX ask_requests_by_end ON ask_requests USING btree (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX ask_requests_of_shipment ON ask_requests USING btree (shipment_id, requested_at);
CREATE UNIQUE INDEX ask_requests_waiting ON ask_requests USING btree (shipment_id) WHERE ended_at IS NULL;

comment on table ask_requests is 'Asks that operators asked for, and what came of them. They are kept for 30 days.';
comment on column ask_requests.request is 'Its id: the form or command that asked for it has it, so that it asks once.';
comment on column ask_requests.shipment_id is 'The shipment.';
comment on column ask_requests.operator is 'Who asked for it.';
comment on column ask_requests.reason is 'Why.';
comment on column ask_requests.requested_at is 'When it was asked for.';
comment on column ask_requests.taken_at is 'When the reconcile service took it up; written before the courier is asked.';
comment on column ask_requests.ended_at is 'When it was answered; null: it waits, or is under way.';
comment on column ask_requests.outcome is 'What came of it. moved: an event came before the courier was asked; not_asked: the service does not ask this courier.';
comment on column ask_requests.appended is 'Raw records appended: what the courier told and was not known.';
comment on column ask_requests.detail is 'Why it failed, was refused or not asked. Nothing of the answer is in it.';

create table cursors (
    raw_partition integer not null,
    raw_topic text not null,
    partitions integer not null,
    consumer_group text not null,
    epoch bigint not null,
    next_offset bigint not null,
    emitted bigint not null,
    updated_at timestamp with time zone not null,
    incarnation bigint not null default 0,
    recovery bigint not null default 0,
    last_offset bigint,
    last_digest bytea,
    recover_until bigint,
    records bigint not null default 0,
    rowless bigint not null default 0,
    began_at bigint not null default 0,
    constraint cursors_pkey PRIMARY KEY (raw_partition),
    constraint cursors_check CHECK (emitted <= next_offset),
    constraint cursors_check1 CHECK ((last_offset IS NULL) = (last_digest IS NULL))
) with (fillfactor=50);

comment on table cursors is 'How far each partition of the raw topic is applied. Postgres leads; Kafka follows.';
comment on column cursors.raw_partition is 'The partition.';
comment on column cursors.raw_topic is 'The raw topic''s full name.';
comment on column cursors.partitions is 'How many partitions the raw topic has.';
comment on column cursors.consumer_group is 'The group whose committed offsets follow.';
comment on column cursors.epoch is 'The token of the claim that may write. A new claim changes it.';
comment on column cursors.next_offset is 'The first offset not applied yet.';
comment on column cursors.emitted is 'Everything before is known to be published. May lag behind the truth.';
comment on column cursors.updated_at is 'When it last moved.';
comment on column cursors.incarnation is 'Tells coordinates of one log from those of another under its name. 0 at first.';
comment on column cursors.recovery is 'The number of the last recovery. Marks of an older number on the committed offset mean nothing.';
comment on column cursors.last_offset is 'The last record applied: its offset. A claim reads it again to know the topic.';
comment on column cursors.last_digest is 'The last record applied: its digest.';
comment on column cursors.recover_until is 'While a recovery is under way: records before it are applied without publishing.';
comment on column cursors.records is 'Records applied in this incarnation: observations, dead letters, and those of rowless.';
comment on column cursors.rowless is 'Records applied that have no row: re-readings without effect, and what retention deleted.';
comment on column cursors.began_at is 'The first offset of this incarnation to be applied: those before it were gone from the log.';

create table dead_letter_decisions (
    incarnation bigint not null,
    raw_partition integer not null,
    raw_offset bigint not null,
    decision text not null,
    command_id text,
    operator text not null,
    reason text,
    decided_at timestamp with time zone not null,
    constraint dead_letter_decisions_pkey PRIMARY KEY (incarnation, raw_partition, raw_offset),
    constraint dead_letter_decisions_decision_check CHECK (decision = ANY (ARRAY['redriven'::text, 'dropped'::text]))
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

create table observations (
    shipment_id text not null,
    raw_partition integer not null,
    raw_offset bigint not null,
    outcome text not null,
    anomaly_kind text,
    version bigint,
    kept boolean not null,
    reading json,
    recorded_at timestamp with time zone not null,
    incarnation bigint not null default 0,
    replay_of_partition integer,
    replay_of_offset bigint,
    command_id text,
    said bytea,
    event bytea,
    awb text,
    constraint observations_pkey PRIMARY KEY (raw_partition, incarnation, raw_offset),
    constraint observations_check CHECK ((replay_of_partition IS NULL) = (replay_of_offset IS NULL)),
    constraint observations_outcome_check CHECK (outcome = ANY (ARRAY['event'::text, 'duplicate'::text, 'anomaly'::text, 'unchanged'::text]))
) with (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=500000, autovacuum_analyze_scale_factor=0.02, autovacuum_freeze_min_age=0);

CREATE INDEX observations_by_time ON observations USING brin (recorded_at) WITH (autosummarize='on');
CREATE INDEX observations_of_awb ON observations USING hash (((reading -> 'details'::text) ->> 'awb'::text));
CREATE INDEX observations_of_other_awb ON observations USING hash (awb);
CREATE INDEX observations_of_shipment ON observations USING btree (shipment_id);
CREATE INDEX observations_read_again ON observations USING btree (replay_of_partition, replay_of_offset) WHERE replay_of_offset IS NOT NULL;

comment on table observations is 'What each raw record said about its shipment, what it led to, and the event it gave. Only ever added to.';
comment on column observations.shipment_id is 'The shipment it is about.';
comment on column observations.raw_partition is 'The raw record: its partition.';
comment on column observations.raw_offset is 'The raw record: its offset.';
comment on column observations.outcome is 'What it led to when it was applied. Fixed then.';
comment on column observations.anomaly_kind is 'Of an anomaly: illegal_transition or unknown_status.';
comment on column observations.version is 'Of an event: its version.';
comment on column observations.kept is 'It takes part in the fold or in telling repeats; false for a plain repeat.';
comment on column observations.reading is 'What older versions stored: the reading. Else null.';
comment on column observations.recorded_at is 'When it was applied.';
comment on column observations.incarnation is 'The incarnation of the raw record''s coordinates.';
comment on column observations.replay_of_partition is 'Of a record read again: the root record''s partition.';
comment on column observations.replay_of_offset is 'Of a record read again: the root record''s offset.';
comment on column observations.command_id is 'Of a record that a tool appended: what makes it apply once.';
comment on column observations.said is 'The reading: word, status, times, details, digests, in the form of schemas/stored_observation.py.';
comment on column observations.event is 'The event it gave, in the form of schemas/stored_event.py: its bytes follow from it. A claim publishes again from here.';
comment on column observations.awb is 'The AWB it tells, where that was not the one its shipment''s row showed then.';

create table operator_log (
    id bigint not null generated always as identity,
    operator text not null,
    command text not null,
    detail json not null,
    logged_at timestamp with time zone not null default now(),
    constraint operator_log_pkey PRIMARY KEY (id)
) with (autovacuum_freeze_min_age=0, autovacuum_vacuum_insert_scale_factor=0, autovacuum_vacuum_insert_threshold=100000, autovacuum_analyze_scale_factor=0.02);

CREATE INDEX operator_log_by_time ON operator_log USING btree (logged_at);
CREATE INDEX operator_log_of_command ON operator_log USING btree ((detail ->> 'command_id'::text));
CREATE INDEX operator_log_of_operator ON operator_log USING btree (operator, logged_at);
CREATE INDEX operator_log_of_shipment ON operator_log USING gin ((detail::jsonb) jsonb_path_ops);

comment on table operator_log is 'Who changed what, and who looked at personal data. Only ever added to.';
comment on column operator_log.id is 'Its number.';
comment on column operator_log.operator is 'Who: WAYBILL_OPERATOR, else the name of the system''s user.';
comment on column operator_log.command is 'The command, such as shipment set-status.';
comment on column operator_log.detail is 'What it was told and what it did.';
comment on column operator_log.logged_at is 'When.';

create table outputs (
    raw_partition integer not null,
    cause_offset bigint not null,
    ordinal integer not null,
    topic text not null,
    key bytea,
    value bytea,
    headers bytea,
    shipment_id text,
    version bigint,
    recorded_at timestamp with time zone not null,
    incarnation bigint not null default 0,
    anomaly_kind text,
    reason text not null default ''::text,
    courier text not null default ''::text,
    replay_of_partition integer,
    replay_of_offset bigint,
    constraint outputs_pkey PRIMARY KEY (raw_partition, incarnation, cause_offset, ordinal)
) with (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0, autovacuum_analyze_scale_factor=0.02, autovacuum_freeze_min_age=0, autovacuum_vacuum_insert_threshold=50000);

CREATE INDEX outputs_anomalies_of_shipment ON outputs USING btree (shipment_id) WHERE topic = 'shipment.anomalies'::text;
CREATE INDEX outputs_anomalies_told ON outputs USING btree (recorded_at, COALESCE(anomaly_kind, ''::text), "substring"(shipment_id, '^[^.:]*'::text)) WHERE topic = 'shipment.anomalies'::text;
CREATE INDEX outputs_dead_letters_told ON outputs USING btree (recorded_at, reason, courier) WHERE topic = 'courier.webhooks.raw.dlq'::text;
CREATE INDEX outputs_of_shipment ON outputs USING btree (shipment_id, version) WHERE version IS NOT NULL;
CREATE INDEX outputs_read_again ON outputs USING btree (replay_of_partition, replay_of_offset) WHERE replay_of_offset IS NOT NULL;

comment on table outputs is 'What else each raw record published, to the byte: anomalies, dead letters, tombstones. A claim publishes again from here.';
comment on column outputs.raw_partition is 'The partition, of the raw record and of the output.';
comment on column outputs.cause_offset is 'The offset of the raw record being applied.';
comment on column outputs.ordinal is 'The place among the record''s outputs.';
comment on column outputs.topic is 'The topic, without the prefix. An event also leaves the state, which follows from it.';
comment on column outputs.key is 'The Kafka key.';
comment on column outputs.value is 'The Kafka value; null makes a tombstone.';
comment on column outputs.headers is 'A dead letter''s headers (MessagePack); the others'' follow from the value.';
comment on column outputs.shipment_id is 'The shipment, if the output is about one.';
comment on column outputs.version is 'Of an event: its version.';
comment on column outputs.recorded_at is 'When it was recorded, by PostgreSQL''s clock.';
comment on column outputs.incarnation is 'The incarnation of the raw record''s coordinates.';
comment on column outputs.anomaly_kind is 'Of an anomaly: its kind. Null where an older version stored it.';
comment on column outputs.reason is 'Of a dead letter: why it is one. Empty where a version without this column stored it: then the headers tell.';
comment on column outputs.courier is 'Of a dead letter: its courier. Empty where the record named none, or what can be no courier''s name.';
comment on column outputs.replay_of_partition is 'Of a dead letter that was read again: the root record''s partition.';
comment on column outputs.replay_of_offset is 'Of a dead letter that was read again: the root record''s offset.';

create table reconcile_asks (
    shipment_id text not null,
    asked_at timestamp with time zone not null,
    next_ask_at timestamp with time zone not null,
    fruitless integer not null,
    failures integer not null,
    outcome text,
    constraint reconcile_asks_pkey PRIMARY KEY (shipment_id),
    constraint reconcile_asks_outcome_check CHECK (outcome = ANY (ARRAY['news'::text, 'no_news'::text, 'not_found'::text, 'throttled'::text, 'failed'::text, 'refused'::text]))
) with (autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.02, autovacuum_analyze_scale_factor=0.02);

CREATE INDEX reconcile_asks_due ON reconcile_asks USING btree (next_ask_at, shipment_id);

comment on table reconcile_asks is 'When couriers were asked about shipments under way, and when they may be again.';
comment on column reconcile_asks.shipment_id is 'The shipment.';
comment on column reconcile_asks.asked_at is 'When it was last asked about; written before the courier is asked.';
comment on column reconcile_asks.next_ask_at is 'It is left alone until then, unless it moves before.';
comment on column reconcile_asks.fruitless is 'Answers in a row that told nothing new. Each doubles the pause.';
comment on column reconcile_asks.failures is 'Asks in a row that got no answer. Each doubles the pause.';
comment on column reconcile_asks.outcome is 'What came of it; null: it is being asked, or the asker was killed meanwhile.';

create table replay_jobs (
    job text collate "C" not null,
    mode text not null,
    selection json not null,
    to_topic text,
    rate integer,
    status text not null,
    detail text,
    operator text not null,
    created_at timestamp with time zone not null,
    updated_at timestamp with time zone not null,
    constraint replay_jobs_pkey PRIMARY KEY (job),
    constraint replay_jobs_mode_check CHECK (mode = ANY (ARRAY['reprocess'::text, 'republish'::text, 'redrive'::text])),
    constraint replay_jobs_status_check CHECK (status = ANY (ARRAY['running'::text, 'paused'::text, 'cancelled'::text, 'failed'::text, 'done'::text]))
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
    job text collate "C" not null,
    raw_partition integer not null,
    next_offset bigint not null,
    until_offset bigint not null,
    appended bigint not null default 0,
    passed_over bigint not null default 0,
    constraint replay_positions_pkey PRIMARY KEY (job, raw_partition)
);

comment on table replay_positions is 'How far a job is in each partition.';
comment on column replay_positions.job is 'The job.';
comment on column replay_positions.raw_partition is 'The partition of the root records.';
comment on column replay_positions.next_offset is 'The first offset not dealt with.';
comment on column replay_positions.until_offset is 'Where it ends.';
comment on column replay_positions.appended is 'Records appended or published so far.';
comment on column replay_positions.passed_over is 'Records of the range that are not of the selection.';

create table schema_migrations (
    version integer not null,
    name text not null,
    checksum text not null,
    applied_at timestamp with time zone not null default clock_timestamp(),
    constraint schema_migrations_pkey PRIMARY KEY (version)
);

comment on table schema_migrations is 'The migrations this database has had.';
comment on column schema_migrations.version is 'The number the file''s name begins with.';
comment on column schema_migrations.name is 'The rest of the file''s name.';
comment on column schema_migrations.checksum is 'SHA-256 of the file as it was applied.';
comment on column schema_migrations.applied_at is 'When it was applied.';

create table shipments (
    shipment_id text not null,
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
    occurred_at timestamp with time zone not null,
    occurred_at_source text not null,
    version bigint not null,
    updated_at timestamp with time zone not null,
    erased_at timestamp with time zone,
    retired_at timestamp with time zone,
    awbs text[],
    active_hour timestamp with time zone not null default '-infinity'::timestamp with time zone,
    resting_status text,
    constraint shipments_pkey PRIMARY KEY (shipment_id),
    constraint shipments_version_check CHECK (version > 0)
) with (fillfactor=50, autovacuum_vacuum_scale_factor=0.02, autovacuum_vacuum_insert_scale_factor=0.02, autovacuum_analyze_scale_factor=0.02);

CREATE INDEX shipments_ended_by_hour ON shipments USING btree (active_hour, shipment_id) WHERE final AND retired_at IS NULL;
CREATE INDEX shipments_of_awb ON shipments USING btree (awb) WHERE awb IS NOT NULL;
CREATE INDEX shipments_of_older_awb ON shipments USING gin (awbs) WHERE awbs IS NOT NULL;
CREATE INDEX shipments_of_order ON shipments USING btree (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX shipments_of_reference ON shipments USING btree (courier_ref);
CREATE INDEX shipments_resting ON shipments USING btree (courier, resting_status, active_hour) WHERE resting_status IS NOT NULL;
CREATE INDEX shipments_under_way_by_hour ON shipments USING btree (active_hour, shipment_id) WHERE NOT final AND retired_at IS NULL;

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
comment on column shipments.erased_at is 'When its personal data was erased on request. None is taken in since.';
comment on column shipments.retired_at is 'When its history was given up after long silence. Only this row is left.';
comment on column shipments.awbs is 'The AWBs it had before the one shown. Of a retired shipment: every one.';
comment on column shipments.active_hour is 'The hour of updated_at: silence is looked up by it. It is indexed, so it changes seldom. A trigger sees that it is right.';
comment on column shipments.resting_status is 'The status of one that is final or retired, else null: those are looked up by it. A trigger sees that it is right.';

alter table replay_positions add constraint replay_positions_job_fkey FOREIGN KEY (job) REFERENCES replay_jobs(job) ON DELETE CASCADE;

CREATE OR REPLACE FUNCTION public.shipments_found_by()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
begin
    new.active_hour := date_trunc('hour', new.updated_at, 'UTC');
    new.resting_status := case when new.final or new.retired_at is not null then new.status end;
    return new;
end
$function$;
CREATE TRIGGER shipments_found_by BEFORE INSERT OR UPDATE ON shipments FOR EACH ROW WHEN (new.active_hour <> date_trunc('hour'::text, new.updated_at, 'UTC'::text) OR new.resting_status IS DISTINCT FROM
        CASE
            WHEN new.final OR new.retired_at IS NOT NULL THEN new.status
            ELSE NULL::text
        END) EXECUTE FUNCTION shipments_found_by();
