"""Replays: raw records read again with today's code, and stored events published again."""
