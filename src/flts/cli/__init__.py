"""The command line: one file per command group. A command parses, calls, and shows; nothing else."""
