-- name: count_open_letters
-- Of the newest $1, one for each root, those that nobody has decided about, or that came back, and that were not read
-- again with success since: by reason and courier.
with letters as (
    select reason, courier, recorded_at, incarnation, coalesce(replay_of_partition, raw_partition) as raw_partition,
        coalesce(replay_of_offset, cause_offset) as raw_offset
    from outputs as letter
    where topic = 'courier.webhooks.raw.dlq'
    and not exists (
        select from outputs as newer
        where newer.replay_of_partition = coalesce(letter.replay_of_partition, letter.raw_partition)
        and newer.replay_of_offset = coalesce(letter.replay_of_offset, letter.cause_offset)
        and newer.incarnation = letter.incarnation and newer.topic = letter.topic
        and (newer.recorded_at, newer.raw_partition, newer.cause_offset)
            > (letter.recorded_at, letter.raw_partition, letter.cause_offset)
    )
    order by recorded_at desc
    limit $1
)
select letters.reason, courier, count(*) as letters
from letters
left join dead_letter_decisions as decided using (incarnation, raw_partition, raw_offset)
left join applied_commands as redriven on redriven.command_id = decided.command_id
where (decided.decision is null or (decided.decision = 'redriven' and redriven.outcome = 'dead_letter'))
and not exists (
    select from cursors
    join replay_jobs on mode <> 'republish'
    join applied_commands as applied
        on applied.command_id = replay_jobs.job || '/' || letters.raw_partition || ':' || letters.raw_offset
    where cursors.raw_partition = letters.raw_partition and cursors.incarnation = letters.incarnation
    and applied.outcome <> 'dead_letter' and applied.applied_at >= letters.recorded_at
)
group by letters.reason, courier
