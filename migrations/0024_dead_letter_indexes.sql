-- outside a transaction

-- In the order of time; of which reason and courier a dead letter is, the index itself says.
create index concurrently outputs_dead_letters_told on outputs (recorded_at, reason, courier)
    where topic = 'courier.webhooks.raw.dlq';
-- It serves what this one served.
drop index concurrently if exists outputs_dead_letters;

-- Those that came back, by their root: of a root the newest is shown.
create index concurrently outputs_read_again on outputs (replay_of_partition, replay_of_offset)
    where replay_of_offset is not null;
