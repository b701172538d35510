-- in batches
-- A row that somebody held while the steps before passed it by, and then left as it was, gets its hour and its resting
-- status too. Whoever holds one now is waited for. The trigger sets both.
with page as (
    select shipment_id from shipments where shipment_id > $1 order by shipment_id limit 2000
), wanting as (
    select shipment_id from shipments
    where shipment_id in (select shipment_id from page)
        and (active_hour = '-infinity' or ((final or retired_at is not null) and resting_status is null))
    order by shipment_id for no key update
), filled as (
    update shipments set updated_at = updated_at
    from wanting where shipments.shipment_id = wanting.shipment_id
)
select max(shipment_id) from page
