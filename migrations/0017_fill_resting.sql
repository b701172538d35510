-- in batches
-- What is stored already gets its resting status. Who holds a row just now is writing it, and the trigger does the same:
-- nobody waits for anybody.
with page as (
    select shipment_id from shipments where shipment_id > $1 order by shipment_id limit 2000
), free as (
    select shipment_id from shipments
    where shipment_id in (select shipment_id from page) and (final or retired_at is not null) and resting_status is null
    for no key update skip locked
), filled as (
    update shipments set resting_status = status
    from free where shipments.shipment_id = free.shipment_id
)
select max(shipment_id) from page
