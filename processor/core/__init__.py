"""What the processor decides, without I/O: reading, folding, applying, planning, and the exact bytes of outputs."""
