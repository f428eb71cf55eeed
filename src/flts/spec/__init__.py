"""The experiment: its fields, where their values come from, and the hashes they make."""
