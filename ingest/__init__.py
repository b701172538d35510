"""The HTTP door: authenticates couriers, splits their bodies and appends them to the raw topic."""
