-- The index is built already: only the name of the key changes hands.

alter table observations
    drop constraint observations_pkey,
    add constraint observations_pkey primary key using index observations_by_record;
