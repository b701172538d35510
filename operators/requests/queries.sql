-- name: asks_of_shipment
-- When its courier was last asked about it, and what came of it.
select asked_at, outcome from reconcile_asks where shipment_id = $1

-- name: count_waiting_requests
select count(*) from (select from ask_requests where ended_at is null limit $1) as waiting

-- name: request_ask
-- No row: the same was asked for before, or another request about the shipment waits.
insert into ask_requests (request, shipment_id, operator, reason, requested_at)
values ($1, $2, $3, $4, $5)
on conflict do nothing
returning request

-- name: request
-- A request by its id; else the one about the shipment that waits.
select request, shipment_id, operator, reason, requested_at, taken_at, ended_at, outcome, appended, detail
from ask_requests
where request = $1 or (shipment_id = $2 and ended_at is null)
order by request = $1 desc
limit 1

-- name: requests_of_shipment
select request, shipment_id, operator, reason, requested_at, taken_at, ended_at, outcome, appended, detail
from ask_requests
where shipment_id = $1
order by requested_at desc
limit $2

-- name: waiting_too_long
-- Requests of before a moment that nobody has answered.
select count(*) as requests, min(requested_at) as since
from (
    select requested_at from ask_requests where ended_at is null and requested_at < $1 limit $2
) as waiting
