"""What `waybill doctor` looks at, what it concludes, and what mends it."""
