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

-- name: shipment_to_decide
select shipment_id, courier, account, service, status, version, updated_at, erased_at, retired_at
from shipments
where shipment_id = $1

-- name: event_of_record
-- The event that a raw record of the current log gave.
select shipment_id, version, recorded_at, null::bytea as value, event,
    coalesce(replay_of_partition, raw_partition) as root_partition, coalesce(replay_of_offset, raw_offset) as root_offset
from observations
join cursors using (raw_partition, incarnation)
where raw_partition = $1 and raw_offset = $2 and event is not null
union all
select shipment_id, version, recorded_at, value, null, null, null
from outputs
join cursors using (raw_partition, incarnation)
where raw_partition = $1 and cause_offset = $2 and topic = 'shipment.events'

-- name: stored_of_shipment
select
    (select count(*) from observations where shipment_id = $1) as observations,
    (select count(*) from observations where shipment_id = $1 and event is not null)
        + (select count(*) from outputs where shipment_id = $1 and version is not null) as events,
    (select max(recorded_at) from observations where shipment_id = $1) as newest

-- name: page_of_anomalies
-- Newest first, those recorded at $1 or later, behind a given one; of these kinds and couriers, where any are given. What
-- older versions stored says its kind in its value alone.
select incarnation, raw_partition, cause_offset, ordinal, value, recorded_at
from outputs
where topic = 'shipment.anomalies'
and ($1::timestamptz is null or recorded_at >= $1)
and ($8::text[] = '{}' or coalesce(anomaly_kind, '') = any ($8::text[] || ''::text))
and ($9::text[] = '{}' or substring(shipment_id from '^[^.:]*') = any ($9))
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
