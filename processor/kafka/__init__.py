"""The processor's topics in Kafka: reading the raw topic, publishing outputs."""
