-- name: lock
-- One asks at a time, for each account. The lock goes with the connection, so a killed one leaves none.
select pg_try_advisory_lock(2002876770, hashtext($1))

-- name: is_locked
-- Whether this session has that lock.
select exists (
    select from pg_locks
    where locktype = 'advisory' and pid = pg_backend_pid() and granted
    and classid = 2002876770 and objid::bigint = hashtext($1)::bigint & 4294967295 and objsubid = 2
    and database = (select oid from pg_database where datname = current_database())
)

-- name: is_asking
-- Whether any session has that lock.
select exists (
    select from pg_locks
    where locktype = 'advisory' and granted
    and classid = 2002876770 and objid::bigint = hashtext($1)::bigint & 4294967295 and objsubid = 2
    and database = (select oid from pg_database where datname = current_database())
)

-- name: count_due
-- Of a courier, at most twice $6: who has fallen silent behind $3 and was not asked since, and whose rest is over.
select (
    select count(*) from (
        select from shipments left join reconcile_asks as asks using (shipment_id)
        where not final and retired_at is null and active_hour >= date_trunc('hour', $3::timestamptz, 'UTC')
            and active_hour <= $4 and updated_at > $3 and updated_at <= $4
            and courier = $1 and account is not distinct from $2::text
            and (asks.asked_at is null or asks.asked_at < updated_at)
        limit $6
    ) as silent
) + (
    select count(*) from (
        select from reconcile_asks as asks join shipments using (shipment_id)
        where next_ask_at <= $5 and asks.asked_at >= updated_at
            and not final and retired_at is null and updated_at <= $4
            and courier = $1 and account is not distinct from $2::text
        limit $6
    ) as rested
)

-- name: page_of_silent
-- Who has fallen silent since a moment, and was not asked since: begins anew. Hour by hour, behind a given one.
select shipment_id, courier, courier_ref, status, updated_at, active_hour, asks.asked_at, 0 as fruitless, 0 as failures
from shipments left join reconcile_asks as asks using (shipment_id)
where not final and retired_at is null and active_hour <= $3 and updated_at <= $3 and updated_at >= $6
    and courier = $1 and account is not distinct from $2::text
    and (asks.asked_at is null or asks.asked_at < updated_at)
    and (active_hour, shipment_id) > ($4, $5::text)
order by active_hour, shipment_id
limit $7

-- name: page_of_rested
-- Who was asked about and has rested, longest first.
select shipment_id, courier, courier_ref, status, updated_at, asks.asked_at, asks.fruitless, asks.failures, next_ask_at
from reconcile_asks as asks join shipments using (shipment_id)
where next_ask_at <= $6 and asks.asked_at >= updated_at and not final and retired_at is null and updated_at <= $3
    and courier = $1 and account is not distinct from $2::text
    and (next_ask_at, shipment_id) > ($4, $5::text)
order by next_ask_at, shipment_id
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
-- What a full history has refused of an answer is known, too: else it would come again with every ask.
select shipment_id, kept, reading, said from observations
where shipment_id = $1 and (kept or anomaly_kind = 'history_limit')

-- name: forget_final
-- What has ended is not asked about any more: goes through a page of the asks whose rest is over; tells where it ends.
with page as (
    select next_ask_at, shipment_id from reconcile_asks
    where next_ask_at <= $1 and (next_ask_at, shipment_id) > ($2, $3::text)
    order by next_ask_at, shipment_id limit $4
), gone as (
    delete from reconcile_asks using page join shipments using (shipment_id)
    where reconcile_asks.shipment_id = page.shipment_id and (final or retired_at is not null)
)
select next_ask_at, shipment_id, count(*) over () as looked_at
from page order by next_ask_at desc, shipment_id desc limit 1

-- name: recorded
-- What was recorded in a range, of what takes part or gave an event.
select shipment_id, version, kept, reading, said, event,
    coalesce(replay_of_partition, raw_partition) as root_partition, coalesce(replay_of_offset, raw_offset) as root_offset
from observations
where recorded_at >= $1 and recorded_at < $2 and (kept or outcome = 'event')

-- name: told_ever
select shipment_id, reading, said from observations where shipment_id = any ($1::text[]) and kept

-- name: waiting_requests
-- What operators have asked for and nobody has answered, of a courier, the oldest first.
select request, shipment_id
from ask_requests join shipments using (shipment_id)
where ended_at is null and courier = $1 and account is not distinct from $2::text
order by requested_at, request
limit $3

-- name: take_request
update ask_requests set taken_at = $2 where request = $1

-- name: end_request
update ask_requests set ended_at = $2, outcome = $3, appended = $4, detail = $5 where request = $1

-- name: forget_requests
-- Those that ended before a moment, some at a time.
delete from ask_requests where request in (select request from ask_requests where ended_at < $1 order by ended_at limit $2)
