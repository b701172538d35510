-- name: applied_offsets
select raw_partition, raw_topic, partitions, next_offset, incarnation from cursors

-- name: roots_of_shipment
-- The records in the log that gave the shipment's observations: their own, or those they were read again from.
select coalesce(replay_of_partition, raw_partition) as raw_partition, coalesce(replay_of_offset, raw_offset) as raw_offset
from observations
where shipment_id = $1 and incarnation = (select coalesce(max(incarnation), 0) from cursors)

-- name: begin_replay
-- No row: it was begun before.
insert into replay_jobs (job, mode, selection, to_topic, rate, status, operator, created_at, updated_at)
values ($1, $2, $3::json, $4, $5, 'running', $6, $7, $7)
on conflict (job) do nothing
returning job

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

-- name: background_jobs
-- What a service is to work off, in the order it was asked for.
select job from replay_jobs
where status = 'running' and selection ->> 'background' = 'true'
order by created_at, job
limit $1

-- name: resume_in_background
update replay_jobs
set status = 'running', detail = null, updated_at = $2, selection = (selection::jsonb || '{"background": true}')::json
where job = $1 and status = any ($3::text[])
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
-- One step of the primary keys for each.
with recursive found (incarnation) as (
    select least(
        (select min(incarnation) from observations where raw_partition = $1),
        (select min(incarnation) from outputs where raw_partition = $1)
    )
    union all
    select least(
        (select min(incarnation) from observations where raw_partition = $1 and incarnation > found.incarnation),
        (select min(incarnation) from outputs where raw_partition = $1 and incarnation > found.incarnation)
    )
    from found where found.incarnation is not null
)
select incarnation from found where incarnation is not null

-- name: stored_page
-- Outputs behind a place, with the values of events only. An event beside its observation is the first of its cause.
(
    select incarnation, raw_offset as cause_offset, 0 as ordinal, 'shipment.events' as topic, null::bytea as key,
        null::bytea as value, shipment_id, version, recorded_at, event,
        coalesce(replay_of_partition, raw_partition) as root_partition,
        coalesce(replay_of_offset, raw_offset) as root_offset
    from observations
    where raw_partition = $1 and incarnation = $2 and raw_offset >= $3 and raw_offset < $5
        and (raw_offset > $3 or $4 < 0) and event is not null
    order by raw_offset
    limit $6
)
union all
(
    select incarnation, cause_offset, ordinal, topic, key, case when topic = 'shipment.events' then value end,
        shipment_id, version, recorded_at, null, null, null
    from outputs
    where raw_partition = $1 and incarnation = $2 and (cause_offset, ordinal) > ($3, $4) and cause_offset < $5
    order by cause_offset, ordinal
    limit $6
)
order by cause_offset, ordinal
limit $6

-- name: stored_events_of_shipment
select incarnation, raw_offset as cause_offset, 0 as ordinal, 'shipment.events' as topic, null::bytea as key,
    null::bytea as value, shipment_id, version, recorded_at, event,
    coalesce(replay_of_partition, raw_partition) as root_partition, coalesce(replay_of_offset, raw_offset) as root_offset
from observations
where shipment_id = $1 and raw_partition = $2 and event is not null
union all
select incarnation, cause_offset, ordinal, topic, key, value, shipment_id, version, recorded_at, null, null, null
from outputs
where shipment_id = $1 and raw_partition = $2 and version is not null
order by incarnation, cause_offset, ordinal
