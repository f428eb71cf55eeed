"""The zoo: one family per file, all of one shape (base.py), all known to registry.py."""
