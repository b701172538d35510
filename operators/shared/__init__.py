"""What several of the operators' commands need."""
