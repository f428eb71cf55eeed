"""Stage 5: forecasts of the champion, for one request or a whole table."""
