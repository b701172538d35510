-- Where each partition's log began to be applied: an audit explains every offset from there on.

alter table cursors add column began_at bigint not null default 0;

comment on column cursors.began_at is 'The first offset of this incarnation to be applied: those before it were gone from the log.';
comment on column outputs.recorded_at is 'When it was recorded, by PostgreSQL''s clock.';

-- Where the first record of a log was that was read before, nobody knows any more. A log made anew begins where it was
-- applied from.
update cursors set began_at = least(
    next_offset,
    (
        select min(raw_offset) from observations
        where observations.raw_partition = cursors.raw_partition and observations.incarnation = cursors.incarnation
    ),
    (
        select min(cause_offset) from outputs
        where outputs.raw_partition = cursors.raw_partition and outputs.incarnation = cursors.incarnation
    )
)
where incarnation > 0;
