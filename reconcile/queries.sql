-- name: lock
-- One asks at a time, for each account. The lock goes with the connection, so a killed one leaves none.
select pg_try_advisory_lock(2002876770, hashtext($1))

-- name: count_due
select shipments.courier, count(*) as due
from shipments left join reconcile_asks as asks using (shipment_id)
where not final and courier = any ($1::text[]) and account is not distinct from $2::text and updated_at <= $3
    and (asks.next_ask_at is null or asks.next_ask_at <= $4 or asks.asked_at < updated_at)
group by shipments.courier

-- name: page_of_due
-- What has moved since it was last asked about begins anew.
select shipment_id, courier, courier_ref, status, updated_at, asks.asked_at,
    case when asks.asked_at >= updated_at then asks.fruitless else 0 end as fruitless,
    case when asks.asked_at >= updated_at then asks.failures else 0 end as failures
from shipments left join reconcile_asks as asks using (shipment_id)
where not final and courier = any ($1::text[]) and account is not distinct from $2::text and updated_at <= $3
    and (asks.next_ask_at is null or asks.next_ask_at <= $4 or asks.asked_at < updated_at)
    and (updated_at, shipment_id) > ($5, $6::text)
order by updated_at, shipment_id
limit $7

-- name: one_shipment
-- An operator's wish: due or not, final or not.
select shipment_id, courier, courier_ref, status, updated_at, asks.asked_at,
    coalesce(asks.fruitless, 0) as fruitless, coalesce(asks.failures, 0) as failures
from shipments left join reconcile_asks as asks using (shipment_id)
where shipment_id = $1 and account is not distinct from $2::text

-- name: claim
-- No row: it has moved meanwhile.
insert into reconcile_asks as asks (shipment_id, asked_at, next_ask_at, fruitless, failures)
select shipment_id, $3, $4, $5, $6 from shipments where shipment_id = $1 and updated_at = $2
on conflict (shipment_id) do update set
    asked_at = excluded.asked_at,
    next_ask_at = excluded.next_ask_at,
    fruitless = excluded.fruitless,
    failures = excluded.failures,
    outcome = null
returning shipment_id

-- name: note_outcome
update reconcile_asks set next_ask_at = $2, fruitless = $3, failures = $4, outcome = $5 where shipment_id = $1

-- name: known
select reading from observations where shipment_id = $1 and kept

-- name: forget_final
-- What has ended is not asked about any more: goes through a page of the asks, and tells where it ends.
with page as (
    select shipment_id from reconcile_asks where shipment_id > $1 order by shipment_id limit $2
), gone as (
    delete from reconcile_asks using page join shipments using (shipment_id)
    where reconcile_asks.shipment_id = page.shipment_id and final
)
select max(shipment_id) as last, count(*) as looked_at from page

-- name: told_how
-- Of each status that a shipment was seen in: whether a webhook told it, ever, or only an answer of the courier.
with seen as (
    select distinct shipment_id, reading ->> 'courier' as courier, reading ->> 'status' as status
    from observations
    where recorded_at >= $1 and recorded_at < $2 and kept
        and reading ->> 'source' in ('push', 'pull') and reading ->> 'status' is not null
)
select courier, status, count(*) as shipments, count(*) filter (where not pushed) as only_by_pull
from (
    select courier, status, exists (
        select from observations as told
        where told.shipment_id = seen.shipment_id and told.kept
            and told.reading ->> 'source' = 'push' and told.reading ->> 'status' = seen.status
    ) as pushed
    from seen
) as told
group by courier, status
order by courier, status

-- name: lateness
-- Of each webhook that says when it happened (its word's own time stands first): how long after that it came.
select courier, count(*) as webhooks,
    percentile_cont(array[0.5, 0.9, 0.99]) within group (order by late) as percentiles
from (
    select reading ->> 'courier' as courier, extract(epoch from
        (reading ->> 'received_at')::timestamptz
        - (select (value ->> 0)::timestamptz from json_each(reading -> 'times') limit 1)
    )::double precision as late
    from observations
    where recorded_at >= $1 and recorded_at < $2 and kept and reading ->> 'source' = 'push'
        and reading ->> 'times' is not null
) as pushed
where late is not null
group by courier
order by courier

-- name: healed
-- Shipments whose status an answer of the courier has moved.
select reading ->> 'courier' as courier, count(distinct observations.shipment_id) as shipments
from observations join outputs
    on outputs.shipment_id = observations.shipment_id and outputs.version = observations.version
where observations.recorded_at >= $1 and observations.recorded_at < $2 and observations.outcome = 'event'
    and reading ->> 'source' = 'pull'
    and convert_from(outputs.value, 'UTF8')::json ->> 'status'
        is distinct from convert_from(outputs.value, 'UTF8')::json ->> 'previous_status'
group by 1
order by 1
