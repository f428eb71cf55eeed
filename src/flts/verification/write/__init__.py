"""How a report is written: one file per format, all with the same claim ids."""
