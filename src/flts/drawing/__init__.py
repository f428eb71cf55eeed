"""Pictures of arrays and records: what they show is decided here, where the numbers come from is not."""
