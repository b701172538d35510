"""Properties that hold for whatever couriers send, in whatever order."""
