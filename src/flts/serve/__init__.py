"""Stage 5: the champion in, forecasts out."""
