"""The documentation, and what builds its site."""
