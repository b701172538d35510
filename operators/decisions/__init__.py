"""What operators decide about single shipments and anomalies."""
