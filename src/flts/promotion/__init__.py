"""Stage 4: a decision made and recorded once."""
