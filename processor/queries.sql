-- name: create_cursor
-- A partition seen for the first time starts at the log's first record.
insert into cursors (raw_partition, raw_topic, partitions, consumer_group, epoch, next_offset, emitted, updated_at)
values ($1, $2, $3, $4, 0, $5, $5, now())
on conflict (raw_partition) do nothing

-- name: claim_cursor
-- Waits for an open commit of the claim before; from here on that claim cannot write.
update cursors set epoch = $2, updated_at = now()
where raw_partition = $1
returning raw_topic, partitions, consumer_group, next_offset, emitted

-- name: blockers
-- Who holds the lock another session of our own role waits for.
select pg_terminate_backend(pid)
from pg_stat_activity
where pid = any (pg_blocking_pids($1)) and usename = current_user

-- name: advance_cursor
-- No row: the claim is lost.
update cursors set next_offset = $4, emitted = greatest(emitted, $5), updated_at = now()
where raw_partition = $1 and epoch = $2 and next_offset = $3
returning next_offset

-- name: note_emitted
update cursors set emitted = greatest(emitted, $3), updated_at = now()
where raw_partition = $1 and epoch = $2

-- name: load_versions
select shipment_id, version from shipments where shipment_id = any ($1::text[])

-- name: load_observations
select shipment_id, raw_partition, raw_offset, anomaly_kind, reading
from observations
where shipment_id = any ($1::text[]) and kept
order by raw_partition, raw_offset

-- name: upsert_shipments
insert into shipments (
    shipment_id, courier, account, service, courier_ref, order_id, awb, status, phase, final, courier_status,
    failed_count, carrier, charges, reason, description, personal, occurred_at, occurred_at_source, version, updated_at
)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::boolean[], $11::text[], $12::integer[], $13::json[], $14::json[], $15::text[], $16::text[], $17::json[],
    $18::timestamptz[], $19::text[], $20::bigint[], $21::timestamptz[]
)
on conflict (shipment_id) do update set
    service = excluded.service,
    order_id = excluded.order_id,
    awb = excluded.awb,
    status = excluded.status,
    phase = excluded.phase,
    final = excluded.final,
    courier_status = excluded.courier_status,
    failed_count = excluded.failed_count,
    carrier = excluded.carrier,
    charges = excluded.charges,
    reason = excluded.reason,
    description = excluded.description,
    personal = excluded.personal,
    occurred_at = excluded.occurred_at,
    occurred_at_source = excluded.occurred_at_source,
    version = excluded.version,
    updated_at = excluded.updated_at

-- name: outputs_between
select topic, cause_offset, ordinal, key, value, headers, shipment_id, version, recorded_at
from outputs
where raw_partition = $1 and cause_offset >= $2 and cause_offset < $3
order by cause_offset, ordinal
limit $4
