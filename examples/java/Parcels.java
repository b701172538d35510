import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.*;
import java.sql.*;
import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.WakeupException;
import org.apache.kafka.common.serialization.*;

/**
 * Keeps a table of parcels up to date from Waybill's topics: a subscriber to start from.
 * Settings: KAFKA_BOOTSTRAP_SERVERS, DATABASE_URL (jdbc:postgresql:…); KAFKA_GROUP_ID and KAFKA_TOPIC_PREFIX where
 * they are not the usual ones; KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_CA_FILE for brokers that ask who you are.
 */
record Parcels(Consumer<String, byte[]> consumer, Connection database) implements ConsumerRebalanceListener {
    static final String STATE = env("KAFKA_TOPIC_PREFIX", "") + "shipment.state";
    static final String EVENTS = env("KAFKA_TOPIC_PREFIX", "") + "shipment.events";
    static final Set<String> TYPES =
            Set.of("shipment.status_changed", "shipment.updated", "shipment.history_added", "shipment.corrected");
    static final String TABLES = """
            create table if not exists parcels (shipment_id text primary key, version bigint not null,
                status text not null, final boolean not null, personal jsonb not null);
            create table if not exists offsets (
                topic text, partition integer, next_offset bigint not null, primary key (topic, partition))""";
    // What is not newer changes nothing: records may come again, and the state is ahead of the first events.
    static final String UPSERT = """
            insert into parcels values (?, ?, ?, ?, ?::jsonb) on conflict (shipment_id) do update set version = excluded.version,
                status = excluded.status, final = excluded.final, personal = excluded.personal
            where parcels.version < excluded.version""";
    static final String STORE = "insert into offsets values (?, ?, ?) "
            + "on conflict (topic, partition) do update set next_offset = excluded.next_offset";
    static final String LOGIN =
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"%s\" password=\"%s\";";
    static final String STORED = "select next_offset from offsets where topic = ? and partition = ?";
    static final ObjectMapper JSON = new ObjectMapper().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);

    record Parcel(String type, @JsonProperty("shipment_id") String shipmentId, long version, String status,
            @JsonProperty("final") boolean isFinal, JsonNode personal) {}

    public static void main(String... arguments) throws Exception {
        var main = Thread.currentThread();
        try (var database = DriverManager.getConnection(env("DATABASE_URL", null));
                var consumer = new KafkaConsumer<>(settings(), new StringDeserializer(), new ByteArrayDeserializer())) {
            Runtime.getRuntime().addShutdownHook(new Thread(() -> { // at SIGTERM: finish the batch
                consumer.wakeup();
                try { main.join(); } catch (InterruptedException hurried) { main.interrupt(); }
            }));
            database.setAutoCommit(false);
            new Parcels(consumer, database).run();
        } catch (WakeupException stopped) { /* as asked */ }
    }

    void run() throws Exception {
        execute(TABLES);
        if (execute("select max(next_offset) from offsets where topic = ?", EVENTS) == null) readState();
        consumer.subscribe(List.of(EVENTS), this);
        while (true) applyWhatCame(); // until stopped
    }

    /** Reads `shipment.state`, from where an earlier start got to, up to the end that it has now. */
    void readState() throws Exception {
        var all = consumer.partitionsFor(STATE).stream().map(it -> new TopicPartition(STATE, it.partition())).toList();
        consumer.assign(all);
        onPartitionsAssigned(all);
        var ends = consumer.endOffsets(all);
        while (all.stream().anyMatch(at -> consumer.position(at) < ends.get(at))) applyWhatCame();
        consumer.unsubscribe();
        System.out.println("read the state; following the events");
    }

    /** Applies a batch and stores the offsets behind it, in one transaction. */
    void applyWhatCame() throws Exception {
        var records = consumer.poll(Duration.ofSeconds(1));
        for (var record : records) apply(record);
        for (var at : records.partitions()) execute(STORE, at.topic(), at.partition(), consumer.position(at));
        database.commit();
    }

    void apply(ConsumerRecord<String, byte[]> record) throws Exception {
        var value = record.value() == null ? null : JSON.readValue(record.value(), Parcel.class);
        if (value == null) execute("delete from parcels where shipment_id = ?", record.key()); // forgotten
        else if (record.topic().equals(STATE) || TYPES.contains(value.type))
            execute(UPSERT, value.shipmentId, value.version, value.status, value.isFinal, value.personal.toString());
    }

    /** Moves to where the database says that each partition is read to; the group's own offsets mean nothing. */
    @Override public void onPartitionsAssigned(Collection<TopicPartition> assigned) {
        for (var at : assigned) {
            var next = execute(STORED, at.topic(), at.partition());
            if (next == null) consumer.seekToBeginning(List.of(at)); else consumer.seek(at, next);
        }
    }
    @Override public void onPartitionsRevoked(Collection<TopicPartition> revoked) { /* all is stored */ }

    /** Runs a statement; returns the number that it gives, or null. */
    Long execute(String sql, Object... values) {
        try (var statement = database.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) statement.setObject(i + 1, values[i]);
            if (!statement.execute() || !statement.getResultSet().next()) return null;
            return statement.getResultSet().getObject(1, Long.class);
        } catch (SQLException error) { throw new IllegalStateException(error); }
    }

    static Map<String, Object> settings() {
        var settings = new HashMap<String, Object>(Map.of("bootstrap.servers", env("KAFKA_BOOTSTRAP_SERVERS", null),
                "group.id", env("KAFKA_GROUP_ID", "parcels"), "isolation.level", "read_committed",
                "enable.auto.commit", false,
                "auto.offset.reset", "none")); // an offset that is gone is an error: nothing is skipped in silence
        if (System.getenv("KAFKA_USERNAME") != null) settings.putAll(Map.of("security.protocol", "SASL_SSL",
                "ssl.truststore.type", "PEM", "ssl.truststore.location", env("KAFKA_CA_FILE", null),
                "sasl.mechanism", "SCRAM-SHA-512", "sasl.jaas.config", LOGIN.formatted(
                        env("KAFKA_USERNAME", null), env("KAFKA_PASSWORD", null))));
        return settings;
    }

    static String env(String name, String usual) {
        return Objects.requireNonNull(System.getenv().getOrDefault(name, usual), name + " is not set");
    }
}
