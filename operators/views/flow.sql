-- name: sampled_records
-- About $3 of the raw records applied from $1 up to $2, evenly by offset: each stands for `pace` records. A record
-- without an observation gives no row. Where each partition's stretch begins is found by halving: offsets and times grow
-- together. So it takes as long with a million records as with a billion.
with recursive search (raw_partition, incarnation, low, high, top) as (
    select raw_partition, incarnation, began_at, next_offset, next_offset from cursors
    union all
    select raw_partition, incarnation,
        case when found.recorded_at < $1 then middle + 1 else low end,
        case when found.recorded_at < $1 then high else middle end, top
    from search
    cross join lateral (select (low + high) / 2) as halfway (middle)
    left join lateral (
        select recorded_at from observations
        where observations.raw_partition = search.raw_partition and observations.incarnation = search.incarnation
        and raw_offset >= middle
        order by raw_offset limit 1
    ) as found on true
    where low < high
), stretches as (
    select raw_partition, incarnation, low, top from search where low = high
), paces as (
    select greatest(1, ceil(sum(top - low) / $3::numeric))::bigint as pace from stretches
)
select pace, shipment_id, recorded_at, outcome, again, reading, said
from stretches cross join paces
cross join lateral generate_series(low, top - 1, pace) as place
cross join lateral (
    select shipment_id, recorded_at, outcome, replay_of_offset is not null as again, reading, said from observations
    where observations.raw_partition = stretches.raw_partition and observations.incarnation = stretches.incarnation
    and raw_offset = place + abs(hashint8(place)::bigint) % pace
    limit 1 -- one at most, and looked for by its key whatever is known of the table
) as one
where recorded_at >= $1 and recorded_at < $2

-- name: dead_letters_by_reason
-- Of the $3 newest that were recorded from $1 up to $2.
select reason, count(*) as letters
from (
    select reason from outputs
    where topic = 'courier.webhooks.raw.dlq' and recorded_at >= $1 and recorded_at < $2
    order by recorded_at desc
    limit $3
) as newest
group by reason
order by letters desc, reason
