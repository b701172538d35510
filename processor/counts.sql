-- name: newest_anomalies
select raw_partition, cause_offset, ordinal, anomaly_kind, value
from outputs
where topic = 'shipment.anomalies'
order by recorded_at desc
limit $1

-- name: silent_by_courier
-- Of the $2 that fell silent last among those under way, how many are of which courier: by whole hours, in the index alone.
select substring(shipment_id from '^[^.:]*') as courier, count(*) as shipments
from (
    select shipment_id
    from shipments
    where not final and retired_at is null and active_hour < date_trunc('hour', now() - $1::interval, 'UTC')
    order by active_hour desc, shipment_id desc
    limit $2
) as silent
group by courier
