"""The only code that knows a vendor. Adapters of one kind have one shape; each imports its library when opened."""
