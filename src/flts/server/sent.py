"""A file that was sent → its rows, within the limits of a request."""

from __future__ import annotations

from http import HTTPStatus

from flts.contracts.errors import DataError
from flts.preprocess.files import CELL
from flts.preprocess.limits import Limits
from flts.preprocess.source import RawFile, RawTable
from flts.server.body import MAX_ROWS
from flts.web.problem import Problem

COLUMNS = 2**20
"""Bytes of memory for the columns of a file beside its cells: those of a thousand."""


def read_sent(name: str, data: bytes, most: int) -> RawTable:
    """The table in a file. Imports polars.

    most: bytes that a request may have; a compressed file may hold no more when it is decompressed. Raises DataError
    for no table, Problem 413 for a file that decodes to more than that, or holds too many rows.
    """
    # a cell takes a byte of plain text at least, so a plain body decodes to no more
    limits = Limits(cells=most, memory=CELL * most + COLUMNS, text=most)
    try:
        rows = RawFile(name, data, limits).loaded()
    except DataError as error:
        if error.code != "table-too-large":
            raise
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{name}: decodes to more than the {most:,} bytes that a request may have; send the newest rows only",
            code="body-too-large",
        ) from None
    if len(rows.table) > MAX_ROWS:
        raise Problem(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"{name}: has {len(rows.table):,} rows; at most {MAX_ROWS:,} are read",
            code="too-many-rows",
        )
    return rows
