"""What couriers' bodies would do, found out without a broker and a database."""
