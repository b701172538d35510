"""`waybill recover`: what a recovery looks at, compares and repairs."""
