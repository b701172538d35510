-- Gives each process of Waybill, and subscribers, what it needs in PostgreSQL and no more.
--
-- Run by the owner of the database after every `waybill migrate`, for instance
--     psql --set=ON_ERROR_STOP=1 --file=deploy/postgres-roles.sql "$WAYBILL_DATABASE_URL"
-- Doing it again does nothing; a privilege that is no longer written below is taken away. The owner needs CREATEROLE
-- the first time, unless the roles are there already.
--
-- The roles cannot log in. Who logs in is made member of one:
--     create role waybill_processor_login login password '…' in role waybill_processor;
-- All processors log in as the same one: a claim ends the sessions of its own role that block it, and no others.
--
--   role                  is
--   waybill_processor     `waybill processor`, and `waybill recover`, which does a processor's work by hand
--   waybill_operator      every other command: reads everything, writes what operators' commands keep
--   waybill_console       `waybill console` that only looks: reads everything, notes looks at personal data. With
--                         WAYBILL_CONSOLE_WRITES=1 it is waybill_operator
--   waybill_retention     `waybill retention`, which deletes what is old
--   waybill_reconcile     `waybill reconcile`
--   waybill_subscriber    somebody else's service: the shipments without personal data
--
-- The owner runs `waybill migrate`, and nothing else.

begin;

do $$
declare
    own constant text := 'select, insert, update, delete';
    written constant text := 'select, insert, update';
    noted constant text := 'select, insert';
    letters constant text := 'select, update (value)';  -- `shipment erase` takes the bodies of dead letters
    counted constant text := 'select, update (rowless)';  -- what is deleted is counted
    -- Without `personal`. Named one by one, so that a new column is nobody's until it stands here.
    impersonal constant text := 'select (shipment_id, courier, account, service, courier_ref, order_id, awb, status, '
        'phase, final, courier_status, failed_count, carrier, charges, reason, description, occurred_at, '
        'occurred_at_source, version, updated_at, active_hour, resting_status, '
        'erased_at, retired_at, awbs)';
    roles constant text[] := array[
        'waybill_processor', 'waybill_operator', 'waybill_console', 'waybill_retention', 'waybill_reconcile',
        'waybill_subscriber'
    ];
    role text;
    entry record;
begin
    foreach role in array roles loop
        if to_regrole(role) is null then
            execute format('create role %I', role);
        end if;
        execute format('revoke all on all tables in schema public from %I', role);
        execute format('grant connect on database %I to %I', current_database(), role);
        execute format('grant usage on schema public to %I', role);
    end loop;
    revoke create on schema public from public;

    -- One line for each table. The processor's own tables are its own affair; no shipment is ever deleted.
    for entry in
        select relation, granted.role, privileges
        from (values
            -- table                  processor operator  console   retention         reconcile   subscriber
            ('shipments',             written,  'select', 'select', 'select',         impersonal, impersonal),
            ('observations',          own,      'select', 'select', 'select, delete', 'select',   ''),
            ('outputs',               own,      letters,  'select', 'select, delete', '',         ''),
            ('cursors',               own,      'select', 'select', counted,          '',         ''),
            ('applied_commands',      own,      'select', 'select', 'select, delete', '',         ''),
            ('replay_jobs',           'select', written,  'select', 'select, delete', '',         ''),
            ('replay_positions',      '',       written,  'select', 'select',         '',         ''),
            ('dead_letter_decisions', 'select', written,  'select', 'select, delete', '',         ''),
            ('operator_log',          'select', noted,    noted,    noted,            '',         ''),
            ('reconcile_asks',        '',       'select', 'select', '',               own,        ''),
            ('ask_requests',          '',       noted,    'select', '',               own,        ''),
            ('schema_migrations',     'select', 'select', 'select', 'select',         'select',   '')
        ) as access (relation, processor, operator, console, retention, reconcile, subscriber),
            unnest(roles, array[processor, operator, console, retention, reconcile, subscriber]) as granted (role, privileges)
        where privileges <> ''
    loop
        execute format('grant %s on public.%I to %I', entry.privileges, entry.relation, entry.role);
    end loop;
end
$$;

commit;
