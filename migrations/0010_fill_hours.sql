-- in batches
-- What is stored already gets its hour.
with page as (
    select shipment_id from shipments where shipment_id > $1 order by shipment_id limit 2000
), filled as (
    update shipments set active_hour = date_trunc('hour', updated_at, 'UTC')
    from page
    where shipments.shipment_id = page.shipment_id and active_hour = '-infinity'
)
select max(shipment_id) from page
