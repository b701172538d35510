"""What operators look at and mend: read-only views, replays, dead letters, anomalies, audit, retention."""
