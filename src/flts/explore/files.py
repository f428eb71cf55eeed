"""The rows to inspect: files as a run would open them, or tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flts.preprocess.dialect import Dialect
from flts.preprocess.limits import Limits
from flts.preprocess.source import SUFFIXES, Raw, RawFile, RawInput, RawTable, refuse_no_file
from flts.spec.sources import validate

TEST_FRACTION = 0.2
"""Share of the rows, the last ones, that are the test without a test file; the default of the Spec."""


def raw_input(train: Any, test: Any, limits: Limits, dialect: Dialect) -> RawInput:
    """Paths or tables, also mixed; NAME_test beside a file NAME is its test. Raises DataError or UsageError."""
    if isinstance(train, str | Path) and (test is None or isinstance(test, str | Path)):
        return raw_files(Path(train), None if test is None else Path(test), limits, dialect)
    later = None if test is None else _raw("test", test, limits, dialect)
    return RawInput(_raw("train", train, limits, dialect), later)


def raw_files(file: Path, test_file: Path | None, limits: Limits, dialect: Dialect) -> RawInput:
    """The files as a run would open them; NAME_test beside NAME is its test. Raises DataError or UsageError."""
    refuse_no_file(file)
    if test_file is None and file.suffix in SUFFIXES:
        beside = (file.with_name(f"{file.stem}_test{suffix}") for suffix in SUFFIXES)
        test_file = next((path for path in beside if path.is_file()), None)
    if test_file is None:
        return RawInput(RawFile(file.name, file, limits, dialect), None)
    refuse_no_file(test_file)
    return RawInput(RawFile(file.name, file, limits, dialect), RawFile(test_file.name, test_file, limits, dialect))


def check_zone(timezone: str) -> None:
    """Raise SpecError for an unknown time zone."""
    validate({"dataset": {"timezone": timezone}}, {"dataset.timezone": "flag --timezone"})


def _raw(name: str, rows: Any, limits: Limits, dialect: Dialect) -> Raw:
    if not isinstance(rows, str | Path):
        return RawTable.of(name, rows, dialect)
    refuse_no_file(Path(rows))
    return RawFile(Path(rows).name, Path(rows), limits, dialect)
