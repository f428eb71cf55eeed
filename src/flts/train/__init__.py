"""Stage 2: Parquet in, bundle and forecasts out."""

CODE_VERSION = 1
"""Raised when the same rows and Spec give other windows, intervals or another manifest; a family has its own."""
