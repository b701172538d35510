"""What operators look at and do not change: shipments, topics, lag, who did what."""
