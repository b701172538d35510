"""The vocabulary of Waybill and its couriers: pure data and pure functions, no I/O."""
