"""The database's schema, one SQL file a step, applied in order by `waybill migrate`.

`schema.sql` is what they come to, for readers; nothing applies it.
"""
