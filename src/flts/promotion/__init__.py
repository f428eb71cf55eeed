"""Stage 4: make a decision and record it once."""
