"""`waybill up`: everything on this machine, and the bundled deliveries played through the door."""
