"""The command line: one file per command group. A command only parses, calls and prints."""
