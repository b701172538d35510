"""The decisions of the protocol, without I/O: claims, repairs, when a partition halts; and where a crash may come."""
