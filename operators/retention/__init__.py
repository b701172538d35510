"""What is kept no longer: which of it is old, and letting it go."""
