"""The database's schema, one SQL file a step, applied in order by `waybill migrate`."""
