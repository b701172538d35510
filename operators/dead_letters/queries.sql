-- name: page_of_dead_letters
-- Newest first, behind a given one.
select incarnation, raw_partition, cause_offset, key, headers, octet_length(value) as size, recorded_at
from outputs
where topic = 'courier.webhooks.raw.dlq'
and (recorded_at, incarnation, raw_partition, cause_offset) < ($1::timestamptz, $2::bigint, $3::integer, $4::bigint)
order by recorded_at desc, incarnation desc, raw_partition desc, cause_offset desc
limit $5

-- name: page_of_selected_letters
-- The newest of each root, newest first, behind a given one; of these reasons and couriers, where any are given, and
-- recorded at $8 or later.
select incarnation, raw_partition, cause_offset, key, headers, octet_length(value) as size, recorded_at
from outputs as letter
where topic = 'courier.webhooks.raw.dlq'
and (recorded_at, incarnation, raw_partition, cause_offset) < ($1::timestamptz, $2::bigint, $3::integer, $4::bigint)
and ($6::text[] = '{}' or reason = any ($6)) and ($7::text[] = '{}' or courier = any ($7))
and ($8::timestamptz is null or recorded_at >= $8)
and not exists (
    select from outputs as newer
    where newer.replay_of_partition = coalesce(letter.replay_of_partition, letter.raw_partition)
    and newer.replay_of_offset = coalesce(letter.replay_of_offset, letter.cause_offset)
    and newer.incarnation = letter.incarnation and newer.topic = letter.topic
    and (newer.recorded_at, newer.raw_partition, newer.cause_offset)
        > (letter.recorded_at, letter.raw_partition, letter.cause_offset)
)
order by recorded_at desc, incarnation desc, raw_partition desc, cause_offset desc
limit $5

-- name: dead_letters_at
select outputs.incarnation, outputs.raw_partition, outputs.cause_offset, key, headers, octet_length(value) as size,
    recorded_at
from unnest($2::integer[], $3::bigint[]) as wanted (raw_partition, raw_offset)
join outputs on outputs.raw_partition = wanted.raw_partition and outputs.cause_offset = wanted.raw_offset
and outputs.incarnation = any ($1::bigint[])
where topic = 'courier.webhooks.raw.dlq'

-- name: bodies_of_dead_letters
select outputs.incarnation, outputs.raw_partition, outputs.cause_offset, key, headers, value
from unnest($1::bigint[], $2::integer[], $3::bigint[]) as wanted (incarnation, raw_partition, raw_offset)
join outputs on outputs.raw_partition = wanted.raw_partition and outputs.incarnation = wanted.incarnation
and outputs.cause_offset = wanted.raw_offset
where topic = 'courier.webhooks.raw.dlq'

-- name: incarnations
select raw_partition, incarnation from cursors

-- name: decisions_on_dead_letters
select decided.incarnation, decided.raw_partition, decided.raw_offset, decided.decision, decided.command_id,
    decided.operator, decided.reason, applied.outcome
from unnest($1::bigint[], $2::integer[], $3::bigint[]) as wanted (incarnation, raw_partition, raw_offset)
join dead_letter_decisions as decided using (incarnation, raw_partition, raw_offset)
left join applied_commands as applied on applied.command_id = decided.command_id

-- name: rereadings
-- What came of roots that any job has had read again.
select wanted.root, applied.raw_partition, applied.raw_offset, applied.outcome, applied.applied_at
from unnest($1::text[]) as wanted (root)
cross join replay_jobs
join applied_commands as applied on applied.command_id = replay_jobs.job || '/' || wanted.root
where replay_jobs.mode <> 'republish'

-- name: decide_dead_letters
insert into dead_letter_decisions (
    incarnation, raw_partition, raw_offset, decision, command_id, operator, reason, decided_at
)
select incarnation, raw_partition, raw_offset, $4::text, command_id, $6::text, $7::text, $8::timestamptz
from unnest($1::bigint[], $2::integer[], $3::bigint[], $5::text[])
    as wanted (incarnation, raw_partition, raw_offset, command_id)
on conflict (incarnation, raw_partition, raw_offset) do update set
    decision = excluded.decision, command_id = excluded.command_id, operator = excluded.operator,
    reason = excluded.reason, decided_at = excluded.decided_at

-- name: begin_redrive
-- One that was interrupted is ended, unless a service takes it up again: those it had not got to are redriven by the new
-- one.
with ended as (
    update replay_jobs
    set status = 'failed', detail = 'interrupted; ' || $1::text || ' went on', updated_at = $4
    where mode = 'redrive' and status in ('running', 'paused') and selection ->> 'background' is distinct from 'true'
)
insert into replay_jobs (job, mode, selection, status, operator, created_at, updated_at)
values ($1, 'redrive', $2::json, 'running', $3, $4, $4)

-- name: queue_redrive
-- No row: it was asked for before.
insert into replay_jobs (job, mode, selection, status, operator, created_at, updated_at)
values ($1, 'redrive', $2::json, 'running', $3, $4, $4)
on conflict (job) do nothing
returning job

-- name: roots_redriven
-- P:O of the roots that a job has had applied. Its command ids are its name, a slash and these; 0 follows the slash.
select substr(command_id, length($1::text) + 2) as root
from applied_commands
where command_id >= $1::text || '/' and command_id < $1::text || '0'

-- name: redrive_positions
-- How far it is: the offsets are those of the roots.
insert into replay_positions (job, raw_partition, next_offset, until_offset, appended)
select $1, * from unnest($2::integer[], $3::bigint[], $4::bigint[], $5::bigint[])
on conflict (job, raw_partition) do update set
    next_offset = excluded.next_offset, appended = excluded.appended

-- name: end_redrive
-- Unless another process has moved it already.
update replay_jobs set status = $2, detail = $3, updated_at = $4 where job = $1 and status = 'running'
