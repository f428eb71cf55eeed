"""Runs side by side: what differs between them, and whether they gave the same result."""
