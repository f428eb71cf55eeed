"""`python -m flts` is `flts`."""

from flts.cli.main import main

main()
