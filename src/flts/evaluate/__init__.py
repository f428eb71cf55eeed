"""Stage 3: forecasts in, one decision out. Pure: no clock, no I/O, no randomness that is not an argument."""

CODE_VERSION = 2
"""Raised when the same forecasts, truth and rules give another score, verdict or decision; words do not count.

It covers what the judge gathers for a decision too (promotion/judge.py): scale, local time, baselines, interval widths,
and whether a champion can be compared.
"""
