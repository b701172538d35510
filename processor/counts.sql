-- name: newest_dead_letters
select incarnation, raw_partition, cause_offset, headers, recorded_at
from outputs
where topic = 'courier.webhooks.raw.dlq'
order by recorded_at desc
limit $1

-- name: settled_dead_letters
-- Of roots with the time their newest dead letter was recorded: those that are dropped, that wait for what a redrive has
-- appended, and that were read again with success since. `limit` keeps each a look-up of its own.
select root.incarnation, root.raw_partition, root.raw_offset
from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::timestamptz[])
    as root (incarnation, raw_partition, raw_offset, recorded_at)
left join lateral (
    select decision, command_id
    from dead_letter_decisions as decided
    where decided.incarnation = root.incarnation and decided.raw_partition = root.raw_partition
        and decided.raw_offset = root.raw_offset
    limit 1
) as decided on true
left join lateral (
    select outcome from applied_commands as applied where applied.command_id = decided.command_id limit 1
) as redriven on true
left join lateral (
    select outcome
    from cursors
    cross join replay_jobs
    join applied_commands as applied
        on applied.command_id = replay_jobs.job || '/' || root.raw_partition || ':' || root.raw_offset
    where cursors.raw_partition = root.raw_partition and cursors.incarnation = root.incarnation
        and mode <> 'republish' and replay_jobs.updated_at >= root.recorded_at
        and applied.outcome <> 'dead_letter' and applied.applied_at >= root.recorded_at
    limit 1
) as mended on true
where decided.decision = 'dropped'
    or (decided.decision = 'redriven' and redriven.outcome is distinct from 'dead_letter')
    or mended.outcome is not null

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
