"""Operators' requests that a courier is asked about a shipment, which `waybill reconcile` answers: it has the keys."""
