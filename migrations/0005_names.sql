-- What a shipment that has lost its observations is still found by.

alter table shipments add column awbs text[];

comment on column shipments.awbs is 'Of a retired shipment: every AWB it had. Of others its observations tell.';
