"""Stage 2: processed rows in, a bundle and its forecasts of the test windows out."""

CODE_VERSION = 2
"""Raised when the same rows and Spec give other windows, intervals or manifests; families have their own versions."""
