-- outside a transaction

-- A shipment is found by what stands on the parcel: the courier's reference, or any AWB it ever had.
create index concurrently shipments_of_reference on shipments (courier_ref);
create index concurrently shipments_of_older_awb on shipments using gin (awbs) where awbs is not null;
-- A hash: an AWB may be longer than a tree's entry, and there is no order to ask for.
create index concurrently observations_of_awb on observations using hash ((reading -> 'details' ->> 'awb'));

-- Shipments that never become final are retired too, after long, and are under way no more.
create index concurrently shipments_silent on shipments (updated_at, shipment_id)
    where not final and retired_at is null;
drop index concurrently if exists shipments_under_way;

-- Who may be asked about again.
create index concurrently reconcile_asks_due on reconcile_asks (next_ask_at, shipment_id);

-- `waybill log` of one shipment, wherever the detail names it.
create index concurrently operator_log_of_shipment on operator_log using gin ((detail::jsonb) jsonb_path_ops);
