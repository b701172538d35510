-- outside a transaction

-- A row's one key are the coordinates of its raw record; a shipment's rows are found by a second index, whose entries for
-- one shipment PostgreSQL keeps as one.
create unique index concurrently observations_by_record on observations (raw_partition, incarnation, raw_offset);
create index concurrently observations_of_shipment on observations (shipment_id);
-- A hash: an AWB may be longer than a tree's entry, and there is no order to ask for.
create index concurrently observations_of_other_awb on observations using hash (awb);
