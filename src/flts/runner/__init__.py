"""A run: claimed, each candidate trained and scored, judged; on one machine or as services."""
