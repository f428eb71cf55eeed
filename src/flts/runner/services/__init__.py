"""The stages as services on a bus: one folder, one file per service."""
