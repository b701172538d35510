-- name: open_dead_letters
-- Of the newest $1 dead letters, one for each root, the newest: how many nobody has decided about, by reason. Neither are
-- those open that wait for what a redrive has appended, and those that were read again with success since. `limit` keeps
-- each question a look-up of its own.
with newest as (
    select incarnation, coalesce(replay_of_partition, raw_partition) as raw_partition,
        coalesce(replay_of_offset, cause_offset) as raw_offset, recorded_at, reason
    from outputs
    where topic = 'courier.webhooks.raw.dlq'
    order by recorded_at desc
    limit $1
), roots as (
    select distinct on (incarnation, raw_partition, raw_offset) *
    from newest
    order by incarnation, raw_partition, raw_offset, recorded_at desc
)
select reason, count(*) as letters
from roots
left join lateral (
    select decision, command_id
    from dead_letter_decisions as decided
    where decided.incarnation = roots.incarnation and decided.raw_partition = roots.raw_partition
        and decided.raw_offset = roots.raw_offset
    limit 1
) as decided on true
left join lateral (
    select outcome from applied_commands as applied where applied.command_id = decided.command_id limit 1
) as redriven on true
left join lateral (
    select true as found
    from cursors
    cross join replay_jobs
    join applied_commands as applied
        on applied.command_id = replay_jobs.job || '/' || roots.raw_partition || ':' || roots.raw_offset
    where cursors.raw_partition = roots.raw_partition and cursors.incarnation = roots.incarnation
        and mode <> 'republish' and replay_jobs.updated_at >= roots.recorded_at
        and applied.outcome <> 'dead_letter' and applied.applied_at >= roots.recorded_at
    limit 1
) as mended on true
where decided.decision is distinct from 'dropped'
    and (decided.decision = 'redriven' and redriven.outcome is distinct from 'dead_letter') is not true
    and mended.found is null
group by reason

-- name: newest_anomalies
select raw_partition, cause_offset, ordinal, anomaly_kind, value
from outputs
where topic = 'shipment.anomalies'
order by recorded_at desc
limit $1

-- name: silent_by_courier
-- Of the $2 that fell silent last among those under way, how many are of which courier: by whole hours, in the index alone.
select substring(shipment_id from '^[^.:]*') as courier, count(*) as shipments
from (
    select shipment_id
    from shipments
    where not final and retired_at is null and active_hour < date_trunc('hour', now() - $1::interval, 'UTC')
    order by active_hour desc, shipment_id desc
    limit $2
) as silent
group by courier
