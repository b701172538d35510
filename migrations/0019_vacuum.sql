-- A vacuum comes after a share of a table that is rewritten (2 %: no more of it is ever dead), and after a number of new
-- rows where a table only grows. What is only added to is frozen at the first vacuum: its pages are never read again
-- for the sake of old transactions.
alter table observations set (autovacuum_freeze_min_age = 0);
alter table outputs set (autovacuum_freeze_min_age = 0, autovacuum_vacuum_insert_threshold = 50000);
alter table operator_log set (
    autovacuum_freeze_min_age = 0,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0.02
);
alter table applied_commands set (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0,
    autovacuum_vacuum_insert_threshold = 100000,
    autovacuum_analyze_scale_factor = 0.02
);
alter table reconcile_asks set (
    autovacuum_vacuum_scale_factor = 0.02,
    autovacuum_vacuum_insert_scale_factor = 0.02,
    autovacuum_analyze_scale_factor = 0.02
);
