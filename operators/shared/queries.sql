-- name: log_deed
insert into operator_log (operator, command, detail) values ($1, $2, $3::json)

-- name: log_decisions
insert into operator_log (operator, command, detail)
select operator, $2::text, detail from unnest($1::text[], $3::json[]) as decided (operator, detail)

-- name: find_shipment
-- By id, the courier's reference, order, or any AWB it ever had; the one of that id first. Without a row: its id alone.
select shipment_id, status, order_id, awb, updated_at
from (
    select shipment_id from shipments where shipment_id = $1
    union
    select shipment_id from shipments where courier_ref = $1
    union
    select shipment_id from shipments where order_id = $1
    union
    select shipment_id from shipments where awb = $1
    union
    select shipment_id from shipments where awbs is not null and awbs @> array[$1]
    union
    select shipment_id from observations where awb = $1
    union
    select shipment_id from observations where reading -> 'details' ->> 'awb' = $1
    union
    (select shipment_id from observations where shipment_id = $1 limit 1)
) as named
left join shipments using (shipment_id)
order by shipment_id = $1 desc, shipment_id
limit $2

-- name: outcomes
select command_id, outcome, raw_partition, raw_offset
from applied_commands
where command_id = any ($1::text[])
