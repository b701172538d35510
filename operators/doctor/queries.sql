-- name: newest_readings
-- Some of each partition's newest, $1 in all, but ten of each at least.
select shipment_id, reading, said
from cursors, lateral (
    select shipment_id, reading, said from observations
    where observations.incarnation = cursors.incarnation and observations.raw_partition = cursors.raw_partition
    order by raw_offset desc
    limit (select greatest(10, $1::bigint / count(*)) from cursors)
) as newest

-- name: session_settings
select array_agg(current_setting(name, true) order by place) as settings
from unnest($1::text[]) with ordinality as wanted (name, place)

-- name: settings_of_server
select name, setting from pg_settings
where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'synchronous_standby_names')

-- name: clock_of_server
select clock_timestamp()

-- name: missing_privileges
-- Of the tables and privileges named, those that this role lacks. A table that is not there is not judged.
select wanted.relation, wanted.privilege
from unnest($1::text[], $2::text[]) as wanted (relation, privilege)
where not has_table_privilege(to_regclass('public.' || wanted.relation), wanted.privilege)
