"""What the services share: settings, logs, metrics, Kafka and PostgreSQL clients, lifecycle."""
