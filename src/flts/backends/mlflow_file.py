"""The file of an embedded MLflow database: made beside its place and moved there whole, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, unquote

from flts.contracts.errors import StageFailed

PART = ".part"
"""End of the name under which a database is made."""


def file_of(uri: str) -> Path | None:
    """The file of a database; None for a server, and for a database in memory."""
    path = unquote(uri.partition("?")[0].removeprefix("sqlite:///"))
    return None if not uri.startswith("sqlite:///") or path in {"", ":memory:"} else Path(path)


def make_whole(uri: str, make: Callable[[str], object]) -> None:
    """Make the database of a URI where there is none. make: fills the new file of the URI that it gets.

    Raises StageFailed for a database that a process left half-made.
    """
    file = file_of(uri)
    if file is None:
        return
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with _alone(file.parent):
            if not file.exists():
                part = file.with_name(file.name + PART)
                for left in (part, part.with_name(f"{part.name}-journal")):  # by a process that was killed
                    left.unlink(missing_ok=True)
                head, mark, options = uri.partition("?")
                make(f"{head}{PART}{mark}{options}")
                part.replace(file)
    refuse_half_made(file)


def refuse_half_made(file: Path) -> None:
    """Raise StageFailed for a file in which MLflow never finished to make its tables."""
    if file.exists() and _is_half_made(file):
        raise StageFailed(
            f"the MLflow database {file} is half-made: the process that made it ended before it held any run; delete"
            " the file, and the next run makes it anew",
            code="tracker-half-made",
            file=str(file),
        )


def _is_half_made(file: Path) -> bool:
    """Whether MLflow began with this file and did not end: its last step is to add the experiment Default."""
    if file.stat().st_size == 0:
        return True
    try:
        with closing(sqlite3.connect(f"file:{quote(str(file.absolute()))}?mode=ro", uri=True)) as database:
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if not tables & {"experiments", "runs", "alembic_version"}:
                return False  # of somebody else
            return "experiments" not in tables or database.execute("SELECT 1 FROM experiments").fetchone() is None
    except sqlite3.Error:
        return False  # in use, or no database: whoever opens it says so


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for the lock of a folder and hold it; it leaves no file."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)
