"""A file that was sent → its rows, within the limits of a request."""

from __future__ import annotations

from http import HTTPStatus

from flts.preprocess.limits import Limits
from flts.preprocess.source import RawFile, RawTable
from flts.server.body import MAX_ROWS
from flts.web.problem import Problem

LIMITS = Limits(cells=10**7, memory=2**28)


def read_sent(name: str, data: bytes) -> RawTable:
    """The table in a file. Imports polars. Raises DataError for no table, Problem 413 for too many rows."""
    rows = RawTable(name, RawFile(name, data, LIMITS).frame())
    if len(rows.table) > MAX_ROWS:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{name}: has {len(rows.table):,} rows; at most {MAX_ROWS:,} are read",
            code="too-many-rows",
        )
    return rows
