"""Stage 3: forecasts in, one decision out. Pure: no clock, no I/O, no randomness that is not an argument."""
