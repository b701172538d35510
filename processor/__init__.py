"""Applies what couriers say to shipments, once, in each shipment's own order."""
