"""Asking couriers by pull about shipments that have been silent for long."""
