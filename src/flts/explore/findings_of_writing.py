"""What a person should know about how the rows are written."""

from __future__ import annotations

from collections.abc import Iterator

from flts.explore.finding import Finding
from flts.explore.report import Inspection
from flts.preprocess.fit import INDEX, counts_rows
from flts.preprocess.marks import looks_like


def of_writing(inspection: Inspection) -> Iterator[Finding]:
    """Its dialect, columns that are text or number the rows, and the notes of the reader."""
    yield from _of_dialect(inspection)
    for column in inspection.train.nearly_numeric:
        like = looks_like(column.cell)
        yield Finding(
            "warning",
            "nearly numbers",
            (column.name,),
            f"'{column.name}' is left out as text: row {column.row} holds {column.cell!r}, "
            + (like or f"and {column.share:.1%} of its cells are numbers"),
            "" if like else "leave cells without a number empty, or name dataset.decimal and dataset.thousands",
        )
    for name in filter(INDEX.fullmatch, inspection.train_rows.columns):
        if counts_rows(inspection.train_rows.values[:, inspection.train_rows.columns.index(name)]):
            named = f"'{name}'" if name.strip() else "a column without a name"
            message = f"{named} numbers the rows, as a written index does; it is left out"
            yield Finding("note", "index", (name,), message, "")
    for warning in (*inspection.train.warnings, *(inspection.test.warnings if inspection.test else ())):
        yield Finding("note", "reading", (), warning, "")


def _of_dialect(inspection: Inspection) -> Iterator[Finding]:
    odd = {key: repr(value) for key, value in inspection.dialect.odd.items()}
    if odd:
        shown = ", ".join(f"{key} {value}" for key, value in odd.items())
        yield Finding(
            "note",
            "dialect",
            (),
            f"the file is not plain CSV with ISO 8601 times and was read with {shown}",
            "keys of [dataset] with these names, if one is wrong",
        )
