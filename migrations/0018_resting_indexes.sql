-- outside a transaction

-- Those of a courier that have ended, by status, in the order of the hours of change.
create index concurrently shipments_resting on shipments (courier, resting_status, active_hour)
    where resting_status is not null;
-- It serves what this one served.
drop index concurrently if exists shipments_retired_by_hour;

-- What one operator did, newest last: retention alone writes an entry for each shipment.
create index concurrently operator_log_of_operator on operator_log (operator, logged_at);
