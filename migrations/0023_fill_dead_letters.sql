-- in batches
-- What is stored already gets its reason, its courier and its root, in the order of time.
with page as (
    select recorded_at, incarnation, raw_partition, cause_offset, ordinal, headers
    from outputs
    where topic = 'courier.webhooks.raw.dlq'
    and (recorded_at, incarnation, raw_partition, cause_offset, ordinal) > (
        coalesce(nullif(split_part($1, '/', 1), ''), '-infinity')::timestamptz,
        coalesce(nullif(split_part($1, '/', 2), ''), '0')::bigint, coalesce(nullif(split_part($1, '/', 3), ''), '0')::integer,
        coalesce(nullif(split_part($1, '/', 4), ''), '0')::bigint, coalesce(nullif(split_part($1, '/', 5), ''), '0')::integer
    )
    order by recorded_at, incarnation, raw_partition, cause_offset, ordinal
    limit 1000
), told as materialized (
    select raw_partition, incarnation, cause_offset, ordinal,
        substring(dead_letter_header(headers, 'dlq-reason') from '^[a-z_]{1,64}$') as reason,
        substring(dead_letter_header(headers, 'courier') from '^[A-Za-z0-9_-]{1,64}$') as courier,
        regexp_match(dead_letter_header(headers, 'replay-of'), '^([0-9]{1,10}):([0-9]{1,19})$')::numeric[] as root
    from page
), filled as (
    update outputs set
        reason = coalesce(told.reason, ''),
        courier = coalesce(told.courier, ''),
        replay_of_partition = case when root[1] <= 2147483647 and root[2] <= 9223372036854775807 then root[1] end,
        replay_of_offset = case when root[1] <= 2147483647 and root[2] <= 9223372036854775807 then root[2] end
    from told
    where outputs.raw_partition = told.raw_partition and outputs.incarnation = told.incarnation
    and outputs.cause_offset = told.cause_offset and outputs.ordinal = told.ordinal
    and outputs.reason = '' and outputs.courier = ''
)
select concat_ws('/', to_char(recorded_at at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US+00'), incarnation, raw_partition, cause_offset, ordinal)
from page
order by recorded_at desc, incarnation desc, raw_partition desc, cause_offset desc, ordinal desc
limit 1
