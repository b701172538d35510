-- name: log_deed
insert into operator_log (operator, command, detail) values ($1, $2, $3::json)

-- name: log_decisions
insert into operator_log (operator, command, detail)
select operator, $2::text, detail from unnest($1::text[], $3::json[]) as decided (operator, detail)

-- name: find_shipment
-- By id, the courier's reference, order, or any AWB it ever had; the one of that id first. Without a row: its id alone.
select shipment_id, status, order_id, awb, updated_at
from (
    select shipment_id from shipments where shipment_id = $1
    union
    select shipment_id from shipments where courier_ref = $1
    union
    select shipment_id from shipments where order_id = $1
    union
    select shipment_id from shipments where awb = $1
    union
    select shipment_id from shipments where awbs is not null and awbs @> array[$1]
    union
    select shipment_id from observations where reading -> 'details' ->> 'awb' = $1
    union
    (select shipment_id from observations where shipment_id = $1 limit 1)
) as named
left join shipments using (shipment_id)
order by shipment_id = $1 desc, shipment_id
limit $2

-- name: page_of_log
-- What operators did, newest first.
select id, operator, command, detail, logged_at
from operator_log
where ($1::timestamptz is null or logged_at >= $1) and ($2::text is null or operator = $2)
order by id desc
limit $3

-- name: page_of_log_of_shipment
-- Its id stands in the detail under one of these names.
select id, operator, command, detail, logged_at
from operator_log
where ($1::timestamptz is null or logged_at >= $1) and ($2::text is null or operator = $2)
and (
    detail::jsonb @> jsonb_build_object('shipment_id', $4::text)
    or detail::jsonb @> jsonb_build_object('shipment', $4::text)
    or detail::jsonb @> jsonb_build_object('range', jsonb_build_object('shipment', $4::text))
    or detail::jsonb @> jsonb_build_object('show_personal', array[$4::text])
)
order by id desc
limit $3

-- ---- dead letters ----

-- name: page_of_dead_letters
-- Newest first, those recorded at $1 or later, behind a given one.
select incarnation, raw_partition, cause_offset, key, headers, octet_length(value) as size, recorded_at
from outputs
where topic = 'courier.webhooks.raw.dlq'
and ($1::timestamptz is null or recorded_at >= $1)
and (recorded_at, incarnation, raw_partition, cause_offset) < ($2::timestamptz, $3::bigint, $4::integer, $5::bigint)
order by recorded_at desc, incarnation desc, raw_partition desc, cause_offset desc
limit $6

-- name: dead_letters_at
select outputs.incarnation, outputs.raw_partition, outputs.cause_offset, key, headers, octet_length(value) as size,
    recorded_at
from unnest($2::integer[], $3::bigint[]) as wanted (raw_partition, raw_offset)
join outputs on outputs.raw_partition = wanted.raw_partition and outputs.cause_offset = wanted.raw_offset
and outputs.incarnation = any ($1::bigint[])
where topic = 'courier.webhooks.raw.dlq'

-- name: bodies_of_dead_letters
select outputs.incarnation, outputs.raw_partition, outputs.cause_offset, key, headers, value
from unnest($1::bigint[], $2::integer[], $3::bigint[]) as wanted (incarnation, raw_partition, raw_offset)
join outputs on outputs.raw_partition = wanted.raw_partition and outputs.incarnation = wanted.incarnation
and outputs.cause_offset = wanted.raw_offset
where topic = 'courier.webhooks.raw.dlq'

-- name: incarnations
select raw_partition, incarnation from cursors

-- name: decisions_on_dead_letters
select decided.incarnation, decided.raw_partition, decided.raw_offset, decided.decision, decided.command_id,
    decided.operator, decided.reason, applied.outcome
from unnest($1::bigint[], $2::integer[], $3::bigint[]) as wanted (incarnation, raw_partition, raw_offset)
join dead_letter_decisions as decided using (incarnation, raw_partition, raw_offset)
left join applied_commands as applied on applied.command_id = decided.command_id

-- name: rereadings
-- What came of roots that any job has had read again.
select wanted.root, applied.raw_partition, applied.raw_offset, applied.outcome, applied.applied_at
from unnest($1::text[]) as wanted (root)
cross join replay_jobs
join applied_commands as applied on applied.command_id = replay_jobs.job || '/' || wanted.root
where replay_jobs.mode <> 'republish'

-- name: decide_dead_letters
insert into dead_letter_decisions (
    incarnation, raw_partition, raw_offset, decision, command_id, operator, reason, decided_at
)
select incarnation, raw_partition, raw_offset, $4::text, command_id, $6::text, $7::text, $8::timestamptz
from unnest($1::bigint[], $2::integer[], $3::bigint[], $5::text[])
    as wanted (incarnation, raw_partition, raw_offset, command_id)
on conflict (incarnation, raw_partition, raw_offset) do update set
    decision = excluded.decision, command_id = excluded.command_id, operator = excluded.operator,
    reason = excluded.reason, decided_at = excluded.decided_at

-- name: outcomes
select command_id, outcome, raw_partition, raw_offset
from applied_commands
where command_id = any ($1::text[])

-- name: begin_redrive
-- One that was interrupted is ended: those it had not got to are redriven by the new one.
with ended as (
    update replay_jobs
    set status = 'failed', detail = 'interrupted; ' || $1::text || ' went on', updated_at = $4
    where mode = 'redrive' and status in ('running', 'paused')
)
insert into replay_jobs (job, mode, selection, status, operator, created_at, updated_at)
values ($1, 'redrive', $2::json, 'running', $3, $4, $4)

-- name: redrive_positions
-- How far it is: the offsets are those of the roots.
insert into replay_positions (job, raw_partition, next_offset, until_offset, appended)
select $1, * from unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[])
on conflict (job, raw_partition) do update set
    next_offset = excluded.next_offset, appended = excluded.appended

-- name: end_redrive
update replay_jobs set status = $2, detail = $3, updated_at = $4 where job = $1

-- name: forget_dead_letters
-- Takes the bodies of those that are published. The rows stay: they are counted on.
with gone as (
    update outputs set value = null
    from unnest($1::bigint[], $2::integer[], $3::bigint[]) as wanted (incarnation, raw_partition, raw_offset), cursors
    where outputs.raw_partition = wanted.raw_partition and outputs.incarnation = wanted.incarnation
    and outputs.cause_offset = wanted.raw_offset and outputs.topic = 'courier.webhooks.raw.dlq'
    and outputs.value is not null and cursors.raw_partition = outputs.raw_partition
    and (cursors.incarnation > outputs.incarnation or cursors.emitted > outputs.cause_offset)
    returning 1
)
select count(*) from gone

-- ---- decisions ----

-- name: shipment_to_decide
select shipment_id, courier, account, service, status, version, updated_at, erased_at, retired_at
from shipments
where shipment_id = $1

-- name: event_of_record
-- The event that a raw record of the current log gave.
select value
from outputs
join cursors using (raw_partition, incarnation)
where raw_partition = $1 and cause_offset = $2 and topic = 'shipment.events'

-- name: stored_of_shipment
select
    (select count(*) from observations where shipment_id = $1) as observations,
    (select count(*) from outputs where shipment_id = $1 and version is not null) as events,
    (select max(recorded_at) from observations where shipment_id = $1) as newest

-- name: page_of_anomalies
-- Newest first, those recorded at $1 or later, behind a given one.
select incarnation, raw_partition, cause_offset, ordinal, value, recorded_at
from outputs
where topic = 'shipment.anomalies'
and ($1::timestamptz is null or recorded_at >= $1)
and (recorded_at, incarnation, raw_partition, cause_offset, ordinal)
    < ($2::timestamptz, $3::bigint, $4::integer, $5::bigint, $6::integer)
order by recorded_at desc, incarnation desc, raw_partition desc, cause_offset desc, ordinal desc
limit $7

-- name: anomalies_of_shipment
select incarnation, raw_partition, cause_offset, ordinal, value, recorded_at
from outputs
where topic = 'shipment.anomalies' and shipment_id = $1
and ($2::timestamptz is null or recorded_at >= $2)
and (recorded_at, incarnation, raw_partition, cause_offset, ordinal)
    < ($3::timestamptz, $4::bigint, $5::integer, $6::bigint, $7::integer)
order by recorded_at desc, incarnation desc, raw_partition desc, cause_offset desc, ordinal desc
limit $8

-- name: taken_in
-- Of raw records, those that were read again and are kept since.
select raw.raw_partition, raw.raw_offset
from unnest($1::integer[], $2::bigint[]) as raw (raw_partition, raw_offset)
where exists (
    select from observations
    where replay_of_partition = raw.raw_partition and replay_of_offset = raw.raw_offset and kept
)

-- ---- end of decisions ----

-- ---- retention ----

-- name: silent_shipments
select shipment_id, courier, account, updated_at
from shipments
where final and retired_at is null and updated_at < $1 and (updated_at, shipment_id) > ($2::timestamptz, $3)
order by updated_at, shipment_id
limit $4

-- name: silent_unfinished
select shipment_id, courier, account, updated_at
from shipments
where not final and retired_at is null and updated_at < $1 and (updated_at, shipment_id) > ($2::timestamptz, $3)
order by updated_at, shipment_id
limit $4

-- name: count_silent_unfinished
select count(*) from shipments where not final and retired_at is null and updated_at < $1

-- name: count_silent
select count(*) from shipments where final and retired_at is null and updated_at < $1

-- name: count_retired
select count(*) from shipments where shipment_id = any ($1::text[]) and retired_at is not null

-- name: count_old_dead_letters
select count(*)
from outputs
join unnest($1::integer[], $2::timestamptz[]) as gone (raw_partition, recorded_before) using (raw_partition)
where topic = 'courier.webhooks.raw.dlq' and recorded_at < recorded_before and recorded_at < $3

-- name: count_old_jobs
select count(*) from replay_jobs where status in ('done', 'failed', 'cancelled') and updated_at < $1

-- name: delete_old_dead_letters
-- Only what is published, and no longer in the partition of the topic. Those of the current incarnation are counted as records without a row.
with old as (
    select raw_partition, outputs.incarnation, cause_offset, ordinal
    from outputs
    join cursors using (raw_partition)
    join unnest($1::integer[], $2::timestamptz[]) as gone (raw_partition, recorded_before) using (raw_partition)
    where topic = 'courier.webhooks.raw.dlq' and recorded_at < recorded_before and recorded_at < $3
    and (cursors.incarnation > outputs.incarnation or cursors.emitted > cause_offset)
    order by recorded_at
    limit $4
), gone as (
    delete from outputs using old
    where outputs.raw_partition = old.raw_partition and outputs.incarnation = old.incarnation
    and outputs.cause_offset = old.cause_offset and outputs.ordinal = old.ordinal
    returning outputs.raw_partition, outputs.incarnation
), counted as (
    update cursors set rowless = rowless + deleted.records
    from (select raw_partition, incarnation, count(*) as records from gone group by 1, 2) as deleted
    where cursors.raw_partition = deleted.raw_partition and cursors.incarnation = deleted.incarnation
)
select count(*) from gone

-- name: delete_old_letter_decisions
with gone as (
    delete from dead_letter_decisions
    where (incarnation, raw_partition, raw_offset) in (
        select incarnation, raw_partition, raw_offset from dead_letter_decisions where decided_at < $1 limit $2
    )
    returning 1
)
select count(*) from gone

-- name: page_of_observed
-- Shipments with observations, in the order of their ids, and whether they have no row.
with page as (
    select distinct shipment_id from observations where shipment_id > $1 order by shipment_id limit $2
)
select shipment_id, shipments.courier is null as is_stray
from page
left join shipments using (shipment_id)
order by shipment_id

-- name: old_strays
select shipment_id, array_agg(distinct raw_partition) as partitions
from observations
where shipment_id = any ($1::text[])
group by shipment_id
having max(recorded_at) < $2

-- name: count_strays
select
    (select count(*) from observations where shipment_id = any ($1::text[])) as observations,
    (
        select count(*) from outputs where shipment_id = any ($1::text[]) and topic = 'shipment.anomalies'
    ) as anomalies

-- name: hold_cursors
select raw_partition from cursors where raw_partition = any ($1::integer[]) order by raw_partition for update

-- name: delete_stray_observations
-- None is deleted if the shipment has got a row, or something new, meanwhile.
with gone as (
    delete from observations
    where shipment_id = $1
    and not exists (select from shipments where shipments.shipment_id = $1)
    and not exists (select from observations as newer where newer.shipment_id = $1 and newer.recorded_at >= $2)
    returning raw_partition, incarnation
), counted as (
    update cursors set rowless = rowless + deleted.records
    from (select raw_partition, incarnation, count(*) as records from gone group by 1, 2) as deleted
    where cursors.raw_partition = deleted.raw_partition and cursors.incarnation = deleted.incarnation
)
select count(*) from gone

-- name: delete_stray_anomalies
-- Only what is published, of a shipment that nothing is known of any more.
with gone as (
    delete from outputs using cursors
    where shipment_id = $1 and topic = 'shipment.anomalies' and recorded_at < $2
    and cursors.raw_partition = outputs.raw_partition
    and (cursors.incarnation > outputs.incarnation or cursors.emitted > cause_offset)
    and not exists (select from observations where observations.shipment_id = $1)
    and not exists (select from shipments where shipments.shipment_id = $1)
    returning 1
)
select count(*) from gone

-- name: end_of_commands
select max(command_id)
from (select command_id from applied_commands where command_id > $1 order by command_id limit $2) as page

-- name: count_commands
select count(*) from applied_commands
where command_id > $1 and command_id <= $2 and applied_at < $3
and not exists (
    select from replay_jobs
    where job = split_part(command_id, '/', 1) and status in ('running', 'paused')
)

-- name: delete_old_commands
-- Those of jobs that may still go on are kept.
with gone as (
    delete from applied_commands
    where command_id > $1 and command_id <= $2 and applied_at < $3
    and not exists (
        select from replay_jobs
        where job = split_part(command_id, '/', 1) and status in ('running', 'paused')
    )
    returning 1
)
select count(*) from gone

-- name: delete_old_jobs
with gone as (
    delete from replay_jobs
    where job in (
        select job from replay_jobs where status in ('done', 'failed', 'cancelled') and updated_at < $1 limit $2
    )
    returning 1
)
select count(*) from gone

-- ---- end of retention ----

-- ---- replays ----

-- name: applied_offsets
select raw_partition, raw_topic, partitions, next_offset, incarnation from cursors

-- name: roots_of_shipment
-- The records in the log that gave the shipment's observations: their own, or those they were read again from.
select coalesce(replay_of_partition, raw_partition) as raw_partition, coalesce(replay_of_offset, raw_offset) as raw_offset
from observations
where shipment_id = $1 and incarnation = (select coalesce(max(incarnation), 0) from cursors)

-- name: begin_replay
insert into replay_jobs (job, mode, selection, to_topic, rate, status, operator, created_at, updated_at)
values ($1, $2, $3::json, $4, $5, 'running', $6, $7, $7)

-- name: begin_positions
insert into replay_positions (job, raw_partition, next_offset, until_offset)
select $1, * from unnest($2::integer[], $3::bigint[], $4::bigint[])

-- name: replay_job
select job, mode, selection, to_topic, rate, status, detail, operator, created_at, updated_at
from replay_jobs where job = $1

-- name: replay_jobs
select job, mode, selection, to_topic, rate, status, detail, operator, created_at, updated_at
from replay_jobs order by created_at desc, job desc limit $1

-- name: replay_positions
select job, raw_partition, next_offset, until_offset, appended, passed_over
from replay_positions where job = any ($1::text[]) order by job, raw_partition

-- name: replay_status
select status from replay_jobs where job = $1

-- name: advance_replay
with advanced as (
    update replay_positions
    set next_offset = $4, appended = appended + $5, passed_over = passed_over + $6
    where job = $1 and raw_partition = $3
)
update replay_jobs set updated_at = $2 where job = $1

-- name: place_replay
-- Like advance_replay, with the number published so far.
with advanced as (
    update replay_positions set next_offset = $4, appended = $5 where job = $1 and raw_partition = $3
)
update replay_jobs set updated_at = $2 where job = $1

-- name: move_replay
-- From one of some states into another. No row: it is in none of them.
update replay_jobs set status = $2, detail = $3, updated_at = $4
where job = $1 and status = any ($5::text[])
returning status

-- name: take_replay
select pg_try_advisory_lock(hashtextextended('waybill replay ' || $1::text, 0))

-- name: taken_replays
-- Jobs that a process works on: it holds the job's advisory lock while its session lives.
select job
from unnest($1::text[]) as jobs (job)
join pg_locks on (classid::bigint << 32 | objid::bigint) = hashtextextended('waybill replay ' || job, 0)
where locktype = 'advisory' and objsubid = 1 and granted
and database = (select oid from pg_database where datname = current_database())

-- name: replay_outcomes
-- A job's command ids begin with its name and a slash; 0 follows the slash.
select outcome, count(*) as records
from applied_commands
where command_id >= $1::text || '/' and command_id < $1::text || '0'
group by outcome
order by outcome

-- name: incarnations_of_outputs
-- One step of the primary key for each.
with recursive found (incarnation) as (
    (select incarnation from outputs where raw_partition = $1 order by incarnation limit 1)
    union all
    select (
        select outputs.incarnation from outputs
        where raw_partition = $1 and outputs.incarnation > found.incarnation
        order by outputs.incarnation limit 1
    )
    from found where found.incarnation is not null
)
select incarnation from found where incarnation is not null

-- name: stored_page
-- Outputs behind a place, with the values of events only.
select incarnation, cause_offset, ordinal, topic, key, case when topic = 'shipment.events' then value end as value,
    shipment_id, version, recorded_at
from outputs
where raw_partition = $1 and incarnation = $2 and (cause_offset, ordinal) > ($3, $4) and cause_offset < $5
order by cause_offset, ordinal
limit $6

-- name: stored_events_of_shipment
select incarnation, cause_offset, ordinal, topic, key, value, shipment_id, version, recorded_at
from outputs
where shipment_id = $1 and raw_partition = $2 and version is not null
order by incarnation, cause_offset, ordinal

-- ---- end of replays ----

-- ---- audit ----

-- name: audit_cursor
select next_offset, incarnation, recovery, recover_until from cursors where raw_partition = $1

-- name: audit_rows
select shipment_id, courier, account, service, courier_ref, order_id, awb, status, phase, final, courier_status,
    failed_count, carrier, charges, reason, description, personal, occurred_at, occurred_at_source, version,
    erased_at is not null as erased, retired_at is not null as retired
from shipments where shipment_id = any ($1::text[])

-- name: audit_observations
select shipment_id, incarnation, raw_partition, raw_offset, version, kept, anomaly_kind, recorded_at
from observations where shipment_id = any ($1::text[])

-- name: audit_events
select shipment_id, version, incarnation, raw_partition, cause_offset, value
from outputs where shipment_id = any ($1::text[]) and version is not null

-- name: audit_tombstones
-- Those that wait to be published.
select shipment_id from outputs
where raw_partition = $1 and incarnation = $2 and cause_offset >= $3 and topic = 'shipment.state'

-- name: audit_batches
-- Of moments, those at which a batch was stored with outputs near an offset.
select moments.at from unnest($3::bigint[], $4::timestamptz[]) as moments (near, at)
where exists (
    select from outputs
    where raw_partition = $1 and incarnation = $2
    and cause_offset > moments.near - $5 and cause_offset < moments.near + $5
    and recorded_at = moments.at
)

-- name: audit_counts
-- One statement, so one moment.
select cursors.records, cursors.rowless, observed.*, published.*
from cursors,
lateral (
    select count(*) as observations,
        count(*) filter (where outcome = 'event') as events,
        count(*) filter (where outcome = 'duplicate') as duplicates,
        count(*) filter (where outcome = 'anomaly') as anomalies,
        count(*) filter (where outcome = 'unchanged') as unchanged
    from observations
    where observations.incarnation = cursors.incarnation and observations.raw_partition = cursors.raw_partition
) as observed,
lateral (
    select count(*) filter (where topic = 'shipment.events') as stored_events,
        count(*) filter (
            where topic = 'shipment.anomalies'
            and position(convert_to('"kind":"service_conflict"', 'UTF8') in value) = 0
        ) as stored_anomalies,
        count(*) filter (where topic = 'courier.webhooks.raw.dlq') as dead_letters
    from outputs
    where outputs.incarnation = cursors.incarnation and outputs.raw_partition = cursors.raw_partition
) as published
where cursors.raw_partition = $1

-- name: audit_dead_letters
-- All that a partition ever gave, with their incarnation: the topic keeps those of older ones too.
select incarnation, cause_offset, recorded_at from outputs
where raw_partition = $1 and topic = 'courier.webhooks.raw.dlq'

-- name: audit_elsewhere
select raw_offset from observations
where raw_partition = $1 and incarnation = $2 and raw_offset = any ($3::bigint[]) and shipment_id <> $4

-- name: audit_refused
-- Dead letters of a stretch of the log: among them are records that PostgreSQL would not take.
select cause_offset, headers from outputs
where raw_partition = $1 and incarnation = $2 and cause_offset >= $3 and cause_offset < $4
and topic = 'courier.webhooks.raw.dlq'

-- name: audit_holes
-- The stretches of a partition's offsets that have neither an observation nor a dead letter.
with taken as (
    select raw_offset as taken from observations
    where raw_partition = $1 and incarnation = $2 and raw_offset >= $3 and raw_offset < $4
    union all
    select cause_offset from outputs
    where raw_partition = $1 and incarnation = $2 and cause_offset >= $3 and cause_offset < $4
    and topic = 'courier.webhooks.raw.dlq'
    union all
    select $3::bigint - 1
), followed as (
    select taken, lead(taken, 1, $4::bigint) over (order by taken) as next from taken
)
select taken + 1 as start, next as "end" from followed where next > taken + 1 order by taken

-- name: audit_standing
select shipment_id, retired_at is not null as retired from shipments where shipment_id = any ($1::text[])

-- ---- end of audit ----

-- ---- looking ----

-- name: age_of_unpublished
-- Of the oldest output stored for a cause from an offset on.
select clock_timestamp() - recorded_at
from outputs
where raw_partition = $1 and incarnation = $2 and cause_offset >= $3
order by cause_offset, ordinal
limit 1

-- name: shipment_row
select * from shipments where shipment_id = $1

-- name: observations_of_shipment
select shipment_id, incarnation, raw_partition, raw_offset, outcome, anomaly_kind, version, kept, reading, recorded_at,
    replay_of_partition, replay_of_offset
from observations where shipment_id = $1
order by recorded_at, incarnation, raw_partition, raw_offset

-- name: events_of_shipment
select value from outputs
where shipment_id = $1 and version is not null and topic = 'shipment.events'
order by version

-- name: newest_shipments
-- Those changed last, newest first; each kind has an index of its own in the order of change.
(
    select shipment_id, courier, service, status, version, final, occurred_at, updated_at, erased_at, retired_at
    from shipments
    where not final and retired_at is null and ($1::text[] is null or status = any ($1)) and ($2::text is null or courier = $2)
    order by updated_at desc limit $3
)
union all
(
    select shipment_id, courier, service, status, version, final, occurred_at, updated_at, erased_at, retired_at
    from shipments
    where final and retired_at is null
    and ($1::text[] is null or status = any ($1)) and ($2::text is null or courier = $2)
    order by updated_at desc limit $3
)
union all
(
    select shipment_id, courier, service, status, version, final, occurred_at, updated_at, erased_at, retired_at
    from shipments
    where retired_at is not null
    and ($1::text[] is null or status = any ($1)) and ($2::text is null or courier = $2)
    order by updated_at desc limit $3
)
order by updated_at desc, shipment_id
limit $3

-- name: stale_shipments
-- Those under way of which nothing was heard since $4, silent longest first.
select shipment_id, courier, service, status, version, final, occurred_at, updated_at, erased_at, retired_at
from shipments
where not final and retired_at is null and updated_at < $4
and ($1::text[] is null or status = any ($1)) and ($2::text is null or courier = $2)
order by updated_at
limit $3

-- name: newest_readings
-- Some of each partition's newest, $1 in all, but ten of each at least.
select reading
from cursors, lateral (
    select reading from observations
    where observations.incarnation = cursors.incarnation and observations.raw_partition = cursors.raw_partition
    order by raw_offset desc
    limit (select greatest(10, $1::bigint / count(*)) from cursors)
) as newest

-- name: session_settings
select array_agg(current_setting(name, true) order by place) as settings
from unnest($1::text[]) with ordinality as wanted (name, place)

-- name: settings_of_server
select name, setting from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names')

-- name: clock_of_server
select clock_timestamp()

-- name: missing_privileges
-- Of the tables and privileges named, those that this role lacks. A table that is not there is not judged.
select wanted.relation, wanted.privilege
from unnest($1::text[], $2::text[]) as wanted (relation, privilege)
where not has_table_privilege(to_regclass('public.' || wanted.relation), wanted.privilege)

-- ---- end of looking ----
