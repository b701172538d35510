"""The processor's tables in PostgreSQL."""
