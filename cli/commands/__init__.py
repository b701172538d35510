"""The commands of `waybill`, a module each: their arguments, and what they print."""
