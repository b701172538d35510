-- outside a transaction

-- A shipment is found by what stands on the parcel: the courier's reference, or any AWB it ever had.
create index concurrently shipments_of_reference on shipments (courier_ref);
create index concurrently shipments_of_older_awb on shipments using gin (awbs) where awbs is not null;
-- A hash: an AWB may be longer than a tree's entry, and there is no order to ask for.
create index concurrently observations_of_awb on observations using hash ((reading -> 'details' ->> 'awb'));

-- `waybill log` of one shipment, wherever the detail names it.
create index concurrently operator_log_of_shipment on operator_log using gin ((detail::jsonb) jsonb_path_ops);
