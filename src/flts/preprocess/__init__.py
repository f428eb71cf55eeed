"""Stage 1: rows in, content-addressed Parquet out."""

CODE_VERSION = 4
"""Raised when the same rows and the same Spec give other Parquet or other fitted values."""
