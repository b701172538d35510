-- name: add_observations
-- One stage of many parcels' lives: the same row for each, with its own number where the courier's text has it.
insert into observations (
    shipment_id, raw_partition, raw_offset, outcome, version, kept, said, event, recorded_at
)
select $4 || digits, raw_partition, raw_offset, $5, $6, $7,
    overlay($8::bytea placing convert_to(digits, 'UTF8') from $9), overlay($10::bytea placing convert_to(digits, 'UTF8') from $11),
    $12
from unnest($1::text[], $2::integer[], $3::bigint[]) as parcels (digits, raw_partition, raw_offset)

-- name: add_shipments
insert into shipments (
    shipment_id, courier_ref, order_id, courier, account, status, phase, final, courier_status, service, failed_count,
    occurred_at, occurred_at_source, awb, carrier, charges, reason, description, personal, version, updated_at,
    active_hour, resting_status
)
select $2 || digits, $3 || digits, $4 || digits, $5, $6, $7, $8, $9::boolean, $10, $11, $12,
    $13, $14, $15, $16::json, $17::json, $18, $19, $20::json, $21, $22::timestamptz,
    date_trunc('hour', $22::timestamptz, 'UTC'), case when $9::boolean then $7 end
from unnest($1::text[]) as parcels (digits)

-- name: begin_cursors
-- As processors would have left them, at the log's first record.
insert into cursors (
    raw_partition, raw_topic, partitions, consumer_group, epoch, next_offset, emitted, records, updated_at
)
select raw_partition, $1, $2, $3, 0, 0, 0, records, now()
from unnest($4::integer[], $5::bigint[]) as filled (raw_partition, records)

-- name: update_shipments
-- What an event at $2 changes in a row that was quiet for hours: its hour, so that no index is spared.
update shipments set updated_at = $2, active_hour = date_trunc('hour', $2::timestamptz, 'UTC')
where shipment_id = any ($1::text[])

-- name: size
select pg_total_relation_size($1::text::regclass)

-- name: busy
-- The milliseconds that PostgreSQL has been at statements of this database.
select active_time from pg_stat_database where datname = current_database()

-- name: operators
-- Whether an operator's command has a session.
select exists (
    select from pg_stat_activity where datname = current_database() and application_name = 'waybill-operator'
)

-- name: dead_rows
select n_dead_tup as dead, n_live_tup as live, autovacuum_count as vacuums from pg_stat_user_tables where relname = $1
