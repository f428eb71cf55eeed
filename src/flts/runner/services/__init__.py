"""The stages as services on a bus: one file per service, and what runs them."""
