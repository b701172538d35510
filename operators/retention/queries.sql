-- name: silent_shipments
select shipment_id, courier, account, updated_at, active_hour
from shipments
where final and retired_at is null and active_hour < $1 and updated_at < $1
    and (active_hour, shipment_id) > ($2::timestamptz, $3)
order by active_hour, shipment_id
limit $4

-- name: silent_unfinished
select shipment_id, courier, account, updated_at, active_hour
from shipments
where not final and retired_at is null and active_hour < $1 and updated_at < $1
    and (active_hour, shipment_id) > ($2::timestamptz, $3)
order by active_hour, shipment_id
limit $4

-- name: count_silent_unfinished
-- Those of whole hours are counted in the index alone.
select (
    select count(*) from shipments
    where not final and retired_at is null and active_hour < date_trunc('hour', $1::timestamptz, 'UTC')
) + (
    select count(*) from shipments
    where not final and retired_at is null and active_hour = date_trunc('hour', $1, 'UTC') and updated_at < $1
)

-- name: count_silent
-- Those of whole hours are counted in the index alone.
select (
    select count(*) from shipments
    where final and retired_at is null and active_hour < date_trunc('hour', $1::timestamptz, 'UTC')
) + (
    select count(*) from shipments
    where final and retired_at is null and active_hour = date_trunc('hour', $1, 'UTC') and updated_at < $1
)

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
