-- A batch's shipments are handed over as one array of rows: as 21 arrays the client looked at each value three times.

create type written_shipment as (
    shipment_id text,
    courier text,
    account text,
    courier_ref text,
    status text,
    phase text,
    final boolean,
    courier_status text,
    service text,
    failed_count integer,
    occurred_at timestamp with time zone,
    occurred_at_source text,
    order_id text,
    awb text,
    carrier json,
    charges json,
    reason text,
    description text,
    personal json,
    version bigint,
    updated_at timestamp with time zone
);

comment on type written_shipment is 'A row of shipments as it is written. What wants other columns takes another type.';
