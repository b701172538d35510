-- name: create_cursor
-- A partition seen for the first time starts at the log's first record, unless the other cursors belong to another
-- stream. Its coordinates are of the newest incarnation: of an older one it may have left some behind.
insert into cursors (
    raw_partition, raw_topic, partitions, consumer_group, epoch, next_offset, emitted, incarnation, updated_at
)
select $1, $2::text, $3::integer, $4::text, 0, $5, $5, coalesce(max(incarnation), 0), now()
from cursors
having coalesce(bool_and((raw_topic, partitions, consumer_group) = ($2::text, $3::integer, $4::text)), true)
on conflict (raw_partition) do nothing

-- name: claim_cursor
-- Waits for an open commit of the claim before; from here on that claim cannot write.
update cursors set epoch = $2, updated_at = now()
where raw_partition = $1 and recover_until is null
returning raw_partition, raw_topic, partitions, consumer_group, next_offset, emitted, epoch, incarnation, recovery,
    last_offset, last_digest, recover_until

-- name: look_at_cursor
-- The partition's cursor; else another one, at first one of another stream.
select raw_partition, raw_topic, partitions, consumer_group, next_offset, emitted, epoch, incarnation, recovery,
    last_offset, last_digest, recover_until
from cursors
order by raw_partition = $1 desc, (raw_topic, partitions, consumer_group) = ($2::text, $3::integer, $4::text)
limit 1

-- name: blockers
-- Who holds the lock another session of our own role waits for.
select pg_terminate_backend(pid)
from pg_stat_activity
where pid = any (pg_blocking_pids($1)) and usename = current_user

-- name: advance_cursor
-- No row: the claim is lost.
update cursors
set next_offset = $4, emitted = greatest(emitted, $5), last_offset = $6, last_digest = $7,
    records = records + $8, rowless = rowless + $9, updated_at = now()
where raw_partition = $1 and epoch = $2 and next_offset = $3
returning next_offset

-- name: note_emitted
-- No row: the claim is lost.
update cursors set emitted = greatest(emitted, $3), updated_at = now()
where raw_partition = $1 and epoch = $2
returning emitted

-- name: load_versions
select shipment_id, courier, version, retired_at is not null as retired
from shipments where shipment_id = any ($1::text[])

-- name: load_retired
select shipment_id, version, service, status, courier_status, failed_count, occurred_at, occurred_at_source,
    order_id, awb, carrier, charges, reason
from shipments where shipment_id = any ($1::text[]) and retired_at is not null

-- name: load_observations
select shipment_id, incarnation, coalesce(replay_of_partition, raw_partition), coalesce(replay_of_offset, raw_offset),
    replay_of_offset is not null, anomaly_kind, reading
from observations
where shipment_id = any ($1::text[]) and kept
order by incarnation, raw_partition, raw_offset

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

-- name: known_commands
select command_id from applied_commands where command_id = any ($1::text[])

-- name: roots
-- What roots were found to be about, at first and when they were read again, in the log that is there now.
with root as (
    select roots.raw_partition, roots.raw_offset, cursors.incarnation
    from unnest($1::integer[], $2::bigint[]) as roots (raw_partition, raw_offset)
    join cursors using (raw_partition)
)
select root.raw_partition, root.raw_offset, shipment_id, false as refused
from root join observations using (incarnation, raw_partition, raw_offset)
union all
select root.raw_partition, root.raw_offset, shipment_id, anomaly_kind is not distinct from 'shipment_changed'
from root join observations
on observations.replay_of_partition = root.raw_partition and observations.replay_of_offset = root.raw_offset
    and observations.incarnation >= root.incarnation

-- name: readings_of
select shipment_id, incarnation, raw_partition, raw_offset, reading
from observations where shipment_id = any ($1::text[])

-- name: rewrite_readings
update observations set reading = wanted.reading
from unnest($1::text[], $2::bigint[], $3::integer[], $4::bigint[], $5::json[])
    as wanted (shipment_id, incarnation, raw_partition, raw_offset, reading)
where (observations.shipment_id, observations.incarnation, observations.raw_partition, observations.raw_offset)
    = (wanted.shipment_id, wanted.incarnation, wanted.raw_partition, wanted.raw_offset)

-- name: events_of
select incarnation, raw_partition, cause_offset, ordinal, value
from outputs where shipment_id = any ($1::text[]) and version is not null

-- name: rewrite_outputs
update outputs set value = wanted.value
from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::integer[], $5::bytea[])
    as wanted (incarnation, raw_partition, cause_offset, ordinal, value)
where (outputs.raw_partition, outputs.incarnation, outputs.cause_offset, outputs.ordinal)
    = (wanted.raw_partition, wanted.incarnation, wanted.cause_offset, wanted.ordinal)

-- name: mark_erased
update shipments set erased_at = $2 where shipment_id = any ($1::text[])

-- name: retire_observations
-- Those of the cursor's own incarnation are counted on.
with gone as (
    delete from observations where shipment_id = any ($1::text[]) and (incarnation, raw_offset) < ($3, $4)
    returning incarnation
)
update cursors set rowless = rowless + (select count(*) from gone where gone.incarnation = $3)
where raw_partition = $2

-- name: retire_outputs
delete from outputs
where shipment_id = any ($1::text[]) and (version is not null or topic = 'shipment.anomalies')
    and (incarnation, cause_offset) < ($2, $3)

-- name: mark_retired
update shipments
set retired_at = $2, personal = $3::json, description = null
where shipment_id = any ($1::text[])

-- name: outputs_between
select topic, cause_offset, ordinal, key, value, headers, shipment_id, version, recorded_at
from outputs
where raw_partition = $1 and incarnation = $2 and cause_offset >= $3 and cause_offset < $4
order by cause_offset, ordinal
limit $5

-- name: all_cursors
select raw_partition, raw_topic, partitions, consumer_group, next_offset, emitted, epoch, incarnation, recovery,
    last_offset, last_digest, recover_until
from cursors
order by raw_partition

-- name: claim_for_recovery
update cursors set epoch = $2, updated_at = now()
where raw_partition = $1
returning raw_partition, raw_topic, partitions, consumer_group, next_offset, emitted, epoch, incarnation, recovery,
    last_offset, last_digest, recover_until

-- name: begin_recovery
-- No row: a processor has claimed the partition meanwhile.
update cursors
set raw_topic = $3, partitions = $4, consumer_group = $5, next_offset = $6, emitted = $7,
    records = case when incarnation = $8 then records else 0 end,
    rowless = case when incarnation = $8 then rowless else 0 end,
    incarnation = $8, recovery = $9, recover_until = $10, last_offset = $11, last_digest = $12, updated_at = now()
where raw_partition = $1 and epoch = $2
returning raw_partition

-- name: delete_cursors
delete from cursors where raw_partition = any ($1::integer[])

-- name: hold_cursor
select raw_partition from cursors where raw_partition = $1 and epoch = $2 for update

-- name: finish_recovery
update cursors set emitted = $3, recover_until = null, updated_at = now()
where raw_partition = $1 and epoch = $2
returning raw_partition

-- name: page_of_shipments
select shipment_id from shipments where shipment_id > $1 order by shipment_id limit $2

-- name: newest_observations
select distinct on (shipment_id) shipment_id, raw_partition, raw_offset, reading
from observations
where shipment_id = any ($1::text[])
order by shipment_id, incarnation desc, recorded_at desc, raw_offset desc

-- name: delete_outputs
delete from outputs
where raw_partition = $1 and incarnation = $2 and cause_offset >= $3 and cause_offset < $4

-- name: set_versions
update shipments set version = wanted.version, updated_at = now()
from unnest($1::text[], $2::bigint[]) as wanted (shipment_id, version)
where shipments.shipment_id = wanted.shipment_id
