-- name: audit_cursor
select next_offset, incarnation, recovery, recover_until from cursors where raw_partition = $1

-- name: audit_rows
select shipment_id, courier, account, service, courier_ref, order_id, awb, status, phase, final, courier_status,
    failed_count, carrier, charges, reason, description, personal, occurred_at, occurred_at_source, version,
    erased_at is not null as erased, retired_at is not null as retired
from shipments where shipment_id = any ($1::text[])

-- name: audit_observations
-- Like load_histories, with what is not kept, and with the events.
select wanted.shipment_id, history.*
from unnest($1::text[]) as wanted (shipment_id)
left join lateral (
    select incarnation, raw_partition, raw_offset, coalesce(replay_of_partition, raw_partition) as root_partition,
        coalesce(replay_of_offset, raw_offset) as root_offset, replay_of_offset is not null as again, anomaly_kind,
        reading, said, version, kept, recorded_at, event
    from observations
    where observations.shipment_id = wanted.shipment_id
    order by incarnation, raw_partition, raw_offset
) as history on true

-- name: audit_events
-- Those that do not stand beside an observation.
select shipment_id, version, incarnation, raw_partition, cause_offset as raw_offset, value, recorded_at,
    null::bytea as event
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
or exists (
    select from observations
    where raw_partition = $1 and incarnation = $2
    and raw_offset > moments.near - $5 and raw_offset < moments.near + $5
    and recorded_at = moments.at and event is not null
)

-- name: audit_counts
-- One statement, so one moment. It reads each table once, whatever the partitions: the rows of one lie among those of all
-- others. What older versions stored says the kind of an anomaly in its value alone.
with observed as (
    select raw_partition, incarnation, count(*) as observations,
        count(*) filter (where outcome = 'event') as events,
        count(*) filter (where outcome = 'duplicate') as duplicates,
        count(*) filter (where outcome = 'anomaly') as anomalies,
        count(*) filter (where outcome = 'unchanged') as unchanged,
        count(*) filter (where event is not null) as told
    from observations
    where raw_partition = any ($1::integer[])
    group by raw_partition, incarnation
), published as (
    select raw_partition, incarnation,
        count(*) filter (where topic = 'shipment.events') as events,
        count(*) filter (
            where topic = 'shipment.anomalies'
            and coalesce(anomaly_kind, convert_from(value, 'UTF8')::json ->> 'kind') <> 'service_conflict'
        ) as anomalies,
        count(*) filter (where topic = 'courier.webhooks.raw.dlq') as dead_letters
    from outputs
    where raw_partition = any ($1::integer[])
    group by raw_partition, incarnation
)
select raw_partition, recovery, recover_until, cursors.records, cursors.rowless,
    coalesce(observations, 0) as observations, coalesce(observed.events, 0) as events,
    coalesce(duplicates, 0) as duplicates, coalesce(observed.anomalies, 0) as anomalies,
    coalesce(unchanged, 0) as unchanged, coalesce(told, 0) + coalesce(published.events, 0) as stored_events,
    coalesce(published.anomalies, 0) as stored_anomalies, coalesce(dead_letters, 0) as dead_letters
from cursors
left join observed using (raw_partition, incarnation)
left join published using (raw_partition, incarnation)
where raw_partition = any ($1::integer[])

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
