"""Verify: re-derive every claim about a run from what it left behind, and write the report."""
