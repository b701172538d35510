"""Asks couriers about shipments that have been silent, and appends what webhooks did not tell."""
