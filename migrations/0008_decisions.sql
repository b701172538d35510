-- outside a transaction

-- A decision is applied only if the operators' log has it under its command id.
create index concurrently operator_log_of_command on operator_log ((detail ->> 'command_id'));
