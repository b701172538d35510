-- name: page_of_log
-- What operators did, newest first, behind a given entry.
select id, operator, command, detail, logged_at
from operator_log
where ($1::timestamptz is null or logged_at >= $1) and ($2::text is null or operator = $2)
and (logged_at, id) < ($4, $5::bigint)
order by logged_at desc, id desc
limit $3

-- name: page_of_log_of_shipment
-- Its id stands in the detail under one of these names.
select id, operator, command, detail, logged_at
from operator_log
where ($1::timestamptz is null or logged_at >= $1) and ($2::text is null or operator = $2)
and (logged_at, id) < ($4, $5::bigint)
and (
    detail::jsonb @> jsonb_build_object('shipment_id', $6::text)
    or detail::jsonb @> jsonb_build_object('shipment', $6::text)
    or detail::jsonb @> jsonb_build_object('range', jsonb_build_object('shipment', $6::text))
    or detail::jsonb @> jsonb_build_object('show_personal', array[$6::text])
)
order by logged_at desc, id desc
limit $3

-- name: age_of_unpublished
-- Of the oldest output stored for a cause from an offset on.
select clock_timestamp() - recorded_at
from (
    (
        select raw_offset as cause_offset, recorded_at from observations
        where raw_partition = $1 and incarnation = $2 and raw_offset >= $3 and event is not null
        order by raw_offset
        limit 1
    )
    union all
    (
        select cause_offset, recorded_at from outputs
        where raw_partition = $1 and incarnation = $2 and cause_offset >= $3
        order by cause_offset
        limit 1
    )
) as oldest
order by cause_offset
limit 1

-- name: shipment_row
select * from shipments where shipment_id = $1

-- name: observations_of_shipment
select shipment_id, incarnation, raw_partition, raw_offset, outcome, anomaly_kind, version, kept, reading, said, recorded_at,
    replay_of_partition, replay_of_offset
from observations where shipment_id = $1
order by recorded_at, incarnation, raw_partition, raw_offset

-- name: events_of_shipment
select shipment_id, version, recorded_at, null::bytea as value, event,
    coalesce(replay_of_partition, raw_partition) as root_partition, coalesce(replay_of_offset, raw_offset) as root_offset
from observations where shipment_id = $1 and event is not null
union all
select shipment_id, version, recorded_at, value, null, null, null
from outputs where shipment_id = $1 and version is not null and topic = 'shipment.events'
order by version

-- name: newest_shipments
-- Those of these statuses and couriers that changed last, newest first, behind a given one. Those under way, and those
-- that have ended by courier and status, have each an index in the order of the hours of change.
(
    select shipment_id, courier, service, status, version, final, occurred_at, updated_at, erased_at, retired_at
    from shipments
    where not final and retired_at is null and status = any ($1::text[]) and courier = any ($2::text[])
    and active_hour <= $4 and (updated_at < $4 or updated_at = $4 and shipment_id > $5::text)
    order by active_hour desc, updated_at desc, shipment_id limit $3
)
union all
(
    select ended.*
    from unnest($1) as wanted (status), unnest($2) as given (courier), lateral (
        select shipment_id, shipments.courier, service, shipments.status, version, final, occurred_at, updated_at,
            erased_at, retired_at
        from shipments
        where shipments.courier = given.courier and resting_status = wanted.status
        and active_hour <= $4 and (updated_at < $4 or updated_at = $4 and shipment_id > $5::text)
        order by active_hour desc, updated_at desc, shipment_id limit $3
    ) as ended
)
order by updated_at desc, shipment_id
limit $3

-- name: stale_shipments
-- Those under way of which nothing was heard since $4, silent longest first, behind a given one.
select shipment_id, courier, service, status, version, final, occurred_at, updated_at, erased_at, retired_at
from shipments
where not final and retired_at is null and active_hour < $4 and updated_at < $4
and status = any ($1::text[]) and courier = any ($2::text[])
and active_hour >= date_trunc('hour', $5::timestamptz, 'UTC') and (updated_at, shipment_id) > ($5, $6::text)
order by active_hour, updated_at, shipment_id
limit $3

-- name: silent_by_status
-- Of those under way of which nothing was heard since $1, the $2 silent longest, by courier and status.
select courier, status, count(*) as shipments, min(updated_at) as silent_since
from (
    select courier, status, updated_at
    from shipments
    where not final and retired_at is null and active_hour < $1 and updated_at < $1
    order by active_hour
    limit $2
) as silent
group by courier, status
order by courier, status

-- name: failed_by_courier
-- FAILED: of those under way among the $3 that changed last; of those that ended so, at most $3 of each courier since $1.
select courier, final, count(*) as shipments, max(updated_at) as newest
from (
    select courier, final, updated_at
    from (
        select courier, final, updated_at, status
        from shipments
        where not final and retired_at is null
        order by active_hour desc
        limit $3
    ) as under_way
    where status = 'FAILED'
    union all
    select ended.courier, true, ended.updated_at
    from unnest($2::text[]) as given (courier), lateral (
        select shipments.courier, updated_at
        from shipments
        where shipments.courier = given.courier and resting_status = 'FAILED' and active_hour >= $1
        order by active_hour desc
        limit $3
    ) as ended
) as failed
group by courier, final
order by courier, final
