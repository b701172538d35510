package waybill.peers;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.FixedKeyProcessor;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorContext;
import org.apache.kafka.streams.processor.api.FixedKeyProcessorSupplier;
import org.apache.kafka.streams.processor.api.FixedKeyRecord;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * Kafka Streams with {@code exactly_once_v2}: the last status and a version of each shipment in a state store.
 *
 * <p>What a commit interval (100 ms, the default) has read, changed and produced becomes visible at once or not at all.
 * It writes no database: the state is a RocksDB of each partition with a changelog topic.
 */
public final class ExactlyOnce {
    private static final String STORE = "shipments";

    @JsonIgnoreProperties(ignoreUnknown = true)
    record Webhook(@JsonProperty("deliveryID") String deliveryId, String status) {}

    record Shipment(String status, long version) {}

    record Event(String id, String status, @JsonProperty("previous_status") String previousStatus, long version) {}

    /** Makes the event of each webhook, whose key is its shipment's. */
    static final class Events implements FixedKeyProcessor<String, Webhook, Event> {
        private FixedKeyProcessorContext<String, Event> context;
        private KeyValueStore<String, Shipment> shipments;

        @Override
        public void init(FixedKeyProcessorContext<String, Event> given) {
            context = given;
            shipments = given.getStateStore(STORE);
        }

        @Override
        public void process(FixedKeyRecord<String, Webhook> record) {
            Webhook webhook = record.value();
            Shipment before = shipments.get(record.key());
            Shipment after = new Shipment(webhook.status(), before == null ? 1 : before.version() + 1);
            shipments.put(record.key(), after);
            String previous = before == null ? null : before.status();
            context.forward(record.withValue(new Event(webhook.deliveryId(), after.status(), previous, after.version())));
        }
    }

    /** Gives each partition a processor and its store. */
    static final class EventsSupplier implements FixedKeyProcessorSupplier<String, Webhook, Event> {
        @Override
        public FixedKeyProcessor<String, Webhook, Event> get() {
            return new Events();
        }

        @Override
        public Set<StoreBuilder<?>> stores() {
            return Set.of(
                    Stores.keyValueStoreBuilder(
                                    Stores.persistentKeyValueStore(STORE), Serdes.String(), json(Shipment.class))
                            .withCachingEnabled());
        }
    }

    private ExactlyOnce() {}

    private static <T> Serde<T> json(Class<T> type) {
        ObjectMapper mapper = new ObjectMapper();
        var reader = mapper.readerFor(type);
        var writer = mapper.writerFor(type);
        return Serdes.serdeFrom(
                (topic, value) -> {
                    try {
                        return value == null ? null : writer.writeValueAsBytes(value);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                },
                (topic, bytes) -> {
                    try {
                        return bytes == null ? null : reader.readValue(bytes);
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                });
    }

    private static Topology topology(String raw, String events) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(raw, Consumed.with(Serdes.String(), json(Webhook.class)))
                .processValues(new EventsSupplier())
                .to(events, Produced.with(Serdes.String(), json(Event.class)));
        return builder.build();
    }

    public static void main(String[] arguments) {
        Map<String, String> environment = System.getenv();
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, environment.get("GROUP"));
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, environment.get("KAFKA"));
        settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, StreamsConfig.EXACTLY_ONCE_V2);
        settings.put(StreamsConfig.STATE_DIR_CONFIG, environment.get("STATE_DIR"));
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, environment.getOrDefault("THREADS", "1"));
        KafkaStreams streams =
                new KafkaStreams(topology(environment.get("RAW_TOPIC"), environment.get("EVENTS_TOPIC")), settings);
        Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
        streams.start();
    }
}
