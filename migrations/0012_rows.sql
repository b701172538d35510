-- What a record said, what came of it and the event that it gave stand in one row, in compact forms. What older versions
-- stored stays as it is: their readings in `reading`, their events in `outputs`.

alter table observations
    alter column reading drop not null,
    add column said bytea,
    add column event bytea,
    add column awb text;

comment on table observations is 'What each raw record said about its shipment, what it led to, and the event it gave. Only ever added to.';
comment on column observations.reading is 'What older versions stored: the reading. Else null.';
comment on column observations.said is 'The reading: word, status, times, details, digests, in the form of schemas/stored_observation.py.';
comment on column observations.event is 'The event it gave, in the form of schemas/stored_event.py: its bytes follow from it. A claim publishes again from here.';
comment on column observations.awb is 'The AWB it tells, where that was not the one its shipment''s row showed then.';
comment on table outputs is 'What else each raw record published, to the byte: anomalies, dead letters, tombstones. A claim publishes again from here.';
comment on column shipments.awbs is 'The AWBs it had before the one shown. Of a retired shipment: every one.';

alter table outputs add column anomaly_kind text;

comment on column outputs.anomaly_kind is 'Of an anomaly: its kind. Null where an older version stored it.';
