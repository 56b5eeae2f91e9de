"""The decision core: pure, with time and randomness as arguments."""
