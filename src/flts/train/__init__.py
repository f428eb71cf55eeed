"""Stage 2: Parquet in, bundle and forecasts out."""
