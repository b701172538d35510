-- What a claim needs to know another topic, an older database, and a recovery under way.

alter table cursors
    add column incarnation bigint not null default 0,
    add column recovery bigint not null default 0,
    add column last_offset bigint,
    add column last_digest bytea,
    add column recover_until bigint,
    add check ((last_offset is null) = (last_digest is null));

comment on column cursors.incarnation is 'Tells coordinates of one log from those of another under its name. 0 at first.';
comment on column cursors.recovery is 'The number of the last recovery. Marks of an older number on the committed offset mean nothing.';
comment on column cursors.last_offset is 'The last record applied: its offset. A claim reads it again to know the topic.';
comment on column cursors.last_digest is 'The last record applied: its digest.';
comment on column cursors.recover_until is 'While a recovery is under way: records before it are applied without publishing.';

alter table observations
    add column incarnation bigint not null default 0,
    drop constraint observations_pkey,
    add primary key (shipment_id, incarnation, raw_partition, raw_offset);

comment on column observations.incarnation is 'The incarnation of the raw record''s coordinates.';

alter table outputs
    add column incarnation bigint not null default 0,
    alter column ordinal type integer,
    drop constraint outputs_pkey,
    add primary key (raw_partition, incarnation, cause_offset, ordinal);

comment on column outputs.incarnation is 'The incarnation of the raw record''s coordinates.';
