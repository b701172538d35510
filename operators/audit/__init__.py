"""Whether what is stored, what is published and what couriers said fit together."""
