-- Silent shipments are found by the hour of their newest event, not by its moment: an event that changes no indexed
-- column writes no index, and the row's next version stays in its page.

alter table shipments add column active_hour timestamptz not null default '-infinity';

comment on column shipments.active_hour is 'The hour of updated_at: silence is looked up by it. It is indexed, so it changes seldom. A trigger sees that it is right.';

-- A generated column would do the same, and rewrite the table before anybody may use it.
create function active_hour() returns trigger language plpgsql as $$
begin
    new.active_hour := date_trunc('hour', new.updated_at, 'UTC');
    return new;
end
$$;

-- Who writes the hour with the moment costs nothing; what older versions and people write gets it here.
create trigger active_hour before insert or update on shipments for each row
when (new.active_hour <> date_trunc('hour', new.updated_at, 'UTC'))
execute function active_hour();

-- Room in each page for the next versions of its rows. Vacuums come in small steps, however large the tables get; of
-- those that only grow, after so many new rows.
alter table shipments set (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
alter table observations set (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 500000,
    autovacuum_analyze_scale_factor = 0.02
);
alter table outputs set (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 500000,
    autovacuum_analyze_scale_factor = 0.02
);
alter table cursors set (fillfactor = 50);
