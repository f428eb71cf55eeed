"""Shows the progress of a run in the cell of a notebook: the live table of the terminal, in its place."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flts.runner.reporter import Quiet

if TYPE_CHECKING:
    from flts.runner.reporter import Reporter

REFRESH_SECONDS = 0.5


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


@contextmanager
def reporter(models: Sequence[str]) -> Iterator[Reporter]:
    """A live table in a notebook, nothing anywhere else: a script is asked for its result alone.

    The output is replaced as a whole, which needs no widgets and stays in a notebook that is saved.
    """
    if not in_notebook():
        yield Quiet()
        return
    from IPython.display import display

    from flts.runner.progress import LiveTable

    table, ended = LiveTable(models), threading.Event()
    output = display(table.shown, display_id=True)

    def refresh() -> None:
        while not ended.wait(REFRESH_SECONDS):
            output.update(table.shown)

    thread = threading.Thread(target=refresh, name="progress", daemon=True)
    thread.start()
    try:
        yield table
    finally:
        ended.set()
        thread.join()
        output.update(table.shown)
