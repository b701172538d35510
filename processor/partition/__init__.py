"""One partition's worker: it claims, applies batch after batch, and publishes."""
