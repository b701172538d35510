-- outside a transaction

-- In the order of time; of which kind and courier an anomaly is, the index itself says. Empty: an older version stored it,
-- and its value tells the kind.
create index concurrently outputs_anomalies_told on outputs
    (recorded_at, coalesce(anomaly_kind, ''), substring(shipment_id from '^[^.:]*'))
    where topic = 'shipment.anomalies';
-- It serves what this one served.
drop index concurrently if exists outputs_anomalies;
