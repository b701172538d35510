"""Dead letters: which there are, and another try for them."""
