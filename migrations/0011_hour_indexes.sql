-- outside a transaction

-- By kind, in the order in which they are looked through: under way, ended, retired.
create index concurrently shipments_under_way_by_hour on shipments (active_hour, shipment_id)
    where not final and retired_at is null;
create index concurrently shipments_ended_by_hour on shipments (active_hour, shipment_id)
    where final and retired_at is null;
create index concurrently shipments_retired_by_hour on shipments (active_hour) where retired_at is not null;
drop index concurrently if exists shipments_silent;
drop index concurrently if exists shipments_to_retire;
drop index concurrently if exists shipments_retired;
