-- Listing shipments by their last change needs an index for each kind; retired ones lacked theirs.

create index shipments_retired on shipments (updated_at) where retired_at is not null;
