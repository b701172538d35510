"""A second, deliberately naive telling of the domain's rules, to compare the real one with."""
