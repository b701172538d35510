-- outside a transaction

-- The key serves what it served.
drop index concurrently if exists observations_at;
