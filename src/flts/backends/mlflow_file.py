"""The file of an embedded MLflow database: made beside its place and moved there whole, by one process at a time."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote, unquote

from flts.backends.mlflow_lock import alone
from flts.backends.mlflow_template import copy_of, keep
from flts.contracts.errors import StageFailed

PART, COPY = ".part", ".copy"
"""Ends of the names under which a database is made, and made from a template."""


def file_of(uri: str) -> Path | None:
    """The file of a database; None for a server, and for a database in memory."""
    path = unquote(uri.partition("?")[0].removeprefix("sqlite:///"))
    return None if not uri.startswith("sqlite:///") or path in {"", ":memory:"} else Path(path)


def make_whole(uri: str, make: Callable[[str], object], template: Path | None = None) -> None:
    """Make the database of a URI where there is none. make: fills the file of the URI that it gets, new or a copy.

    template: is copied where it exists, and is made of this database where it does not. Raises StageFailed for a
    database that a process left half-made.
    """
    file = file_of(uri)
    if file is None:
        return
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with alone(file.parent):
            if not file.exists():
                _make(file, uri, make, template)
    refuse_half_made(file)


def _make(file: Path, uri: str, make: Callable[[str], object], template: Path | None) -> None:
    """Make a database under another name, from the template if that can be, and move it into place."""
    made = None if template is None else _from_template(file, uri, make, template)
    if made is None:
        made = _free(file, PART)
        make(_beside(uri, PART))
        if template is not None:
            keep(made, template)
    made.replace(file)


def _from_template(file: Path, uri: str, make: Callable[[str], object], template: Path) -> Path | None:
    """A copy of the template with what MLflow adds to it; None where there is no template that it takes."""
    copy = _free(file, COPY)
    with suppress(Exception):  # whatever MLflow has against a copy, it has nothing against a database of its own
        if copy_of(template, copy):
            make(_beside(uri, COPY))
            return copy
    copy.unlink(missing_ok=True)
    return None


def _free(file: Path, ending: str) -> Path:
    """The place beside a file under its name with this ending; what a killed process left there is gone."""
    place = file.with_name(file.name + ending)
    for left in (place, place.with_name(f"{place.name}-journal")):
        left.unlink(missing_ok=True)
    return place


def _beside(uri: str, ending: str) -> str:
    """The URI of that place."""
    head, mark, options = uri.partition("?")
    return f"{head}{ending}{mark}{options}"


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
