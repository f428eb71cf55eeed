"""`flts` and `python -m flts`: the command line as a process of its own."""

from __future__ import annotations

import atexit
import os
import sys


def program() -> None:
    """Run the command line and end the process with its code.

    The interpreter is not taken apart at the end. The client of the object store may still tell it something from a
    thread of its own, after the last answer; that aborted the process, and a command that had done its work failed.
    Threads are joined and functions that are registered for the end are called, as always.
    """
    code = 1  # of an error that nobody expected
    atexit.register(lambda: _leave(code))  # the first one registered is the last one called

    from flts.cli.main import main

    try:
        main()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        raise


def _leave(code: int) -> None:
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return  # the interpreter finds this too, and says it
    os._exit(code)


if __name__ == "__main__":
    program()
