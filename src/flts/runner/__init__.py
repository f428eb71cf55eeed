"""A run: claim it, train and score each candidate, judge; on one machine or as services."""
