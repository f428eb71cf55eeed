"""Forecasts of the champions over HTTP."""
