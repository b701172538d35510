"""How commands read arguments, ask, and print."""
