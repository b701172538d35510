-- name: create_cursor
-- A partition seen for the first time starts at the log's first record, unless the other cursors belong to another
-- stream. Its coordinates are of the newest incarnation: of an older one it may have left some behind.
insert into cursors (
    raw_partition, raw_topic, partitions, consumer_group, epoch, next_offset, emitted, began_at, incarnation, updated_at
)
select $1, $2::text, $3::integer, $4::text, 0, $5, $5, $5, coalesce(max(incarnation), 0), now()
from cursors
having coalesce(bool_and((raw_topic, partitions, consumer_group) = ($2::text, $3::integer, $4::text)), true)
on conflict (raw_partition) do nothing

-- name: claim_cursor
-- Waits for an open commit of the claim before; from here on that claim cannot write.
update cursors set epoch = $2, updated_at = now()
where raw_partition = $1 and recover_until is null
returning raw_partition, raw_topic, partitions, consumer_group, next_offset, emitted, epoch, incarnation, recovery,
    last_offset, last_digest, recover_until, began_at

-- name: look_at_cursor
-- The partition's cursor; else another one, at first one of another stream.
select raw_partition, raw_topic, partitions, consumer_group, next_offset, emitted, epoch, incarnation, recovery,
    last_offset, last_digest, recover_until, began_at
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

-- name: standbys_waited_for
-- What the server waits for, if one of our sessions has waited so many seconds for a standby; else nothing.
select current_setting('synchronous_standby_names')
from pg_stat_activity
where wait_event = 'SyncRep' and usename = current_user and state_change < clock_timestamp() - make_interval(secs => $1)
limit 1

-- name: commit_nothing
-- A commit that waits as one of a batch does: a message in the log of PostgreSQL for nobody.
select pg_logical_emit_message(true, 'waybill', '')

-- name: now
select clock_timestamp()

-- name: load_rows
select shipment_id, courier, version, retired_at is not null as retired, service, status, courier_status, failed_count,
    occurred_at, occurred_at_source, order_id, awb, carrier, charges, reason, description, personal
from shipments where shipment_id = any ($1::text[])

-- name: load_histories
-- In the order of the ids: a lateral subquery in order is joined row by row. One without observations has one row.
select wanted.shipment_id, history.*
from unnest($1::text[]) as wanted (shipment_id)
left join lateral (
    select incarnation, raw_partition, raw_offset, coalesce(replay_of_partition, raw_partition) as root_partition,
        coalesce(replay_of_offset, raw_offset) as root_offset, replay_of_offset is not null as again, anomaly_kind,
        reading, said
    from observations
    where observations.shipment_id = wanted.shipment_id and kept
    order by incarnation, raw_partition, raw_offset
) as history on true

-- name: upsert_shipments
-- The rows are one JSON text: an array of as many values would cost the client three times as much. Between the id and
-- the version stand the fields of `View`, in their order. An AWB that is shown no longer is kept.
insert into shipments (
    shipment_id, courier, account, courier_ref, status, phase, final, courier_status, service, failed_count,
    occurred_at, occurred_at_source, order_id, awb, carrier, charges, reason, description, personal, version, updated_at,
    active_hour, resting_status
)
select
    shipment_id, courier, account, courier_ref, status, phase, final, courier_status, service, failed_count,
    occurred_at, occurred_at_source, order_id, awb, carrier, charges, reason, description, personal, version, updated_at,
    date_trunc('hour', updated_at, 'UTC'), case when final then status end
from json_populate_recordset(null::shipments, $1::json)
on conflict (shipment_id) do update set
    status = excluded.status,
    phase = excluded.phase,
    final = excluded.final,
    courier_status = excluded.courier_status,
    service = excluded.service,
    failed_count = excluded.failed_count,
    occurred_at = excluded.occurred_at,
    occurred_at_source = excluded.occurred_at_source,
    order_id = excluded.order_id,
    awb = excluded.awb,
    carrier = excluded.carrier,
    charges = excluded.charges,
    reason = excluded.reason,
    description = excluded.description,
    personal = excluded.personal,
    version = excluded.version,
    updated_at = excluded.updated_at,
    active_hour = excluded.active_hour,
    resting_status = excluded.resting_status,
    awbs = case
        when shipments.awb is distinct from excluded.awb and shipments.awb <> all (coalesce(shipments.awbs, '{}'))
        then array_append(shipments.awbs, shipments.awb)
        else shipments.awbs
    end

-- name: known_commands
select command_id from applied_commands where command_id = any ($1::text[])

-- name: written_decisions
-- What operators' commands wrote down before they appended it.
select detail ->> 'command_id' as command_id, detail
from operator_log where detail ->> 'command_id' = any ($1::text[])

-- name: roots
-- What roots were found to be about, at first and when they were read again, in the log that is there now; of the first
-- also what they said, where it is kept, and short: what a batch reads is bounded.
with root as (
    select roots.raw_partition, roots.raw_offset, cursors.incarnation
    from unnest($1::integer[], $2::bigint[]) as roots (raw_partition, raw_offset)
    join cursors using (raw_partition)
)
select root.raw_partition, root.raw_offset, shipment_id, false as refused,
    case when kept and length(said) <= 4096 then said end as said
from root join observations using (incarnation, raw_partition, raw_offset)
union all
select root.raw_partition, root.raw_offset, shipment_id, anomaly_kind is not distinct from 'shipment_changed', null
from root join observations
on observations.replay_of_partition = root.raw_partition and observations.replay_of_offset = root.raw_offset
    and observations.incarnation >= root.incarnation

-- name: plain_shipments
-- Those that show what their observations come to by today's rules: nothing is left out of what they said, and nothing
-- of it was read by an older version.
select shipments.shipment_id
from unnest($1::text[]) as wanted (shipment_id) join shipments using (shipment_id)
where erased_at is null and retired_at is null and (
    select count(*) from observations
    where observations.shipment_id = shipments.shipment_id and reading is not null
) = 0

-- name: observations_of
select shipment_id, incarnation, raw_partition, raw_offset, version, recorded_at, reading, said, event,
    coalesce(replay_of_partition, raw_partition) as root_partition, coalesce(replay_of_offset, raw_offset) as root_offset
from observations where shipment_id = any ($1::text[])

-- name: rewrite_observations
-- What an older version stored is found by its AWB still.
update observations
set reading = null, said = wanted.said, event = wanted.event, awb = coalesce(awb, reading -> 'details' ->> 'awb')
from unnest($1::bigint[], $2::integer[], $3::bigint[], $4::bytea[], $5::bytea[])
    as wanted (incarnation, raw_partition, raw_offset, said, event)
where (observations.raw_partition, observations.incarnation, observations.raw_offset)
    = (wanted.raw_partition, wanted.incarnation, wanted.raw_offset)

-- name: events_of
-- Those that do not stand beside their observations.
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
-- Those of the cursor's own incarnation are counted on. One whose event is not known to be published stays.
with gone as (
    delete from observations
    where shipment_id = any ($1::text[]) and (incarnation, raw_offset) < ($3, $4)
        and (event is null or (incarnation, raw_offset) < ($3, $5))
    returning incarnation
)
update cursors set rowless = rowless + (select count(*) from gone where gone.incarnation = $3)
where raw_partition = $2

-- name: retire_outputs
-- What is not known to be published stays: a claim publishes it from here.
delete from outputs
where shipment_id = any ($1::text[]) and (version is not null or topic = 'shipment.anomalies')
    and (incarnation, cause_offset) < ($2, $3)

-- name: mark_retired
-- Before its observations go: what is found by its AWBs stays so.
update shipments
set retired_at = $2, resting_status = status, personal = $3::json, description = null,
    awbs = nullif(array(
        select unnest(shipments.awbs)
        union
        select shipments.awb where shipments.awb is not null
        union
        select told.awb
        from observations, lateral (values (observations.awb), (reading -> 'details' ->> 'awb')) as told (awb)
        where observations.shipment_id = shipments.shipment_id and told.awb is not null
    ), '{}')
where shipment_id = any ($1::text[])

-- name: taken_in
-- Of raw records, those that were read again and are kept since.
select raw.raw_partition, raw.raw_offset
from unnest($1::integer[], $2::bigint[]) as raw (raw_partition, raw_offset)
where exists (
    select from observations
    where replay_of_partition = raw.raw_partition and replay_of_offset = raw.raw_offset and kept
)

-- name: sizes_between
-- How much each cause's outputs come to, without reading them: of what is stored apart, PostgreSQL knows the length.
-- An event is published with the names of its values, some 700 bytes.
select cause_offset, sum(outputs)::bigint as outputs, sum(bytes)::bigint as bytes
from (
    (
        select raw_offset as cause_offset, 1 as outputs, octet_length(event) + 700 as bytes
        from observations
        where raw_partition = $1 and incarnation = $2 and raw_offset >= $3 and raw_offset < $4 and event is not null
        order by raw_offset
        limit $5
    )
    union all
    (
        select cause_offset, count(*),
            sum(coalesce(octet_length(value), 0) + coalesce(octet_length(key), 0) + coalesce(octet_length(headers), 0))
        from outputs
        where raw_partition = $1 and incarnation = $2 and cause_offset >= $3 and cause_offset < $4
        group by cause_offset
        order by cause_offset
        limit $5
    )
) as stored
group by cause_offset
order by cause_offset
limit $5

-- name: outputs_between
select 'shipment.events' as topic, raw_offset as cause_offset, 0 as ordinal, null::bytea as key, null::bytea as value,
    null::bytea as headers, shipment_id, version, recorded_at, event,
    coalesce(replay_of_partition, raw_partition) as root_partition, coalesce(replay_of_offset, raw_offset) as root_offset
from observations
where raw_partition = $1 and incarnation = $2 and raw_offset >= $3 and raw_offset < $4 and event is not null
union all
select topic, cause_offset, ordinal, key, value, headers, shipment_id, version, recorded_at, null, null, null
from outputs
where raw_partition = $1 and incarnation = $2 and cause_offset >= $3 and cause_offset < $4
order by cause_offset, ordinal

-- name: all_cursors
select raw_partition, raw_topic, partitions, consumer_group, next_offset, emitted, epoch, incarnation, recovery,
    last_offset, last_digest, recover_until, began_at
from cursors
order by raw_partition

-- name: claim_for_recovery
update cursors set epoch = $2, updated_at = now()
where raw_partition = $1
returning raw_partition, raw_topic, partitions, consumer_group, next_offset, emitted, epoch, incarnation, recovery,
    last_offset, last_digest, recover_until, began_at

-- name: begin_recovery
-- No row: a processor has claimed the partition meanwhile.
update cursors
set raw_topic = $3, partitions = $4, consumer_group = $5, next_offset = $6, emitted = $7,
    records = case when incarnation = $8 then records else 0 end,
    rowless = case when incarnation = $8 then rowless else 0 end,
    incarnation = $8, recovery = $9, recover_until = $10, last_offset = $11, last_digest = $12,
    began_at = $13, updated_at = now()
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
select distinct on (shipment_id) shipment_id, incarnation, raw_partition, raw_offset, reading, said
from observations
where shipment_id = any ($1::text[])
order by shipment_id, incarnation desc, recorded_at desc, raw_offset desc

-- name: delete_outputs
with forgotten as (
    update observations set event = null
    where raw_partition = $1 and incarnation = $2 and raw_offset >= $3 and raw_offset < $4 and event is not null
)
delete from outputs
where raw_partition = $1 and incarnation = $2 and cause_offset >= $3 and cause_offset < $4

-- name: set_versions
update shipments set version = wanted.version, updated_at = now()
from unnest($1::text[], $2::bigint[]) as wanted (shipment_id, version)
where shipments.shipment_id = wanted.shipment_id
