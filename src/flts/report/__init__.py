"""Stage 6: evidence in, report out."""
