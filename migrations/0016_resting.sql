-- Shipments that have ended are found by their status, however many are stored. `status` itself stays without an index:
-- almost every event changes it, and would write every index then. What has ended changes seldom.

alter table shipments add column resting_status text;

comment on column shipments.resting_status is 'The status of one that is final or retired, else null: those are looked up by it. A trigger sees that it is right.';

create function shipments_found_by() returns trigger language plpgsql as $$
begin
    new.active_hour := date_trunc('hour', new.updated_at, 'UTC');
    new.resting_status := case when new.final or new.retired_at is not null then new.status end;
    return new;
end
$$;

-- Who writes both with the rest costs nothing; what older versions and people write gets them here.
create trigger shipments_found_by before insert or update on shipments for each row
when (
    new.active_hour <> date_trunc('hour', new.updated_at, 'UTC')
    or new.resting_status is distinct from case when new.final or new.retired_at is not null then new.status end
)
execute function shipments_found_by();
drop trigger active_hour on shipments;
drop function active_hour();
