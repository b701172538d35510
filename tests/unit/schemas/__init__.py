"""The vocabulary and the couriers, by table."""
