"""A first flts.toml from the rows themselves, with a reason for each value."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from flts.contracts.errors import MissingExtra, MissingPackage
from flts.explore.files import TEST_FRACTION, raw_files
from flts.explore.finding import Finding
from flts.explore.inspection import inspect_rows
from flts.explore.suggest import SuggestedValue, Suggestion, suggest
from flts.explore.toml import to_toml
from flts.models.registry import require
from flts.preprocess.dialect import Dialect
from flts.preprocess.limits import Limits
from flts.preprocess.source import SUFFIXES, RawInput
from flts.spec import sources
from flts.spec.fields import Spec
from flts.spec.written import exists_already, refuse_no_folder, write_text


@dataclass(frozen=True)
class FirstExperiment:
    """An experiment that is ready to run.

    why_target: why this column; warnings: what is odd about the rows; text: the content of flts.toml.
    """

    target: str
    why_target: str
    suggestion: Suggestion
    warnings: tuple[Finding, ...]
    text: str

    @property
    def spec(self) -> Spec:
        """The experiment."""
        return self.suggestion.spec()

    @property
    def missing(self) -> str:
        """The packages that suggested models lack, with the command that installs them; empty if there are none."""
        try:
            require(s.name.removeprefix("models.") for s in self.suggestion.sections if s.name.startswith("models."))
        except (MissingExtra, MissingPackage) as absent:
            return str(absent)
        return ""

    @property
    def models(self) -> tuple[str, ...]:
        """The models it names; in the file, models that are not installed or do not suit the rows are comments."""
        named = (s.name for s in self.suggestion.sections if not s.left_out)
        return tuple(name.removeprefix("models.") for name in named if name.startswith("models."))


def first_experiment(
    file: Path,
    test_file: Path | None,
    output: Path,
    *,
    target: str | None,
    horizon: int | None,
    time: str | None,
    timezone: str | None,
    limits: Limits,
    dialect: Dialect,
) -> FirstExperiment:
    """The experiment that these rows suggest, for a file `output`; nothing is written.

    Raises DataError when no value of the Spec makes the rows usable.
    """
    files = raw_files(file, test_file, limits, dialect)
    later = files.test
    raw = RawInput(files.train.loaded(), later.loaded() if later else None)
    report = inspect_rows(raw, target=target, time=time, timezone=timezone)
    suggestion = suggest(report.inspection, raw, _where(file, test_file, files, output), TEST_FRACTION, horizon)
    warnings = tuple(finding for finding in report.findings if finding.severity == "warning")
    text = to_toml(_title(file, test_file), warnings, suggestion.sections)
    assert report.inspection.target is not None  # suggest() refuses rows without one
    return FirstExperiment(report.inspection.target, report.inspection.why_target, suggestion, warnings, text)


def check_output(output: Path, *, force: bool) -> None:
    """Raise UsageError for a file that exists already, or whose folder does not."""
    if output.exists() and not force:
        raise exists_already(output)
    refuse_no_folder(output)


def _title(file: Path, test_file: Path | None) -> str:
    return f"flts init {file}{f' {test_file}' if test_file else ''}"


def _where(file: Path, test_file: Path | None, files: RawInput, output: Path) -> list[SuggestedValue]:
    """The entries that say where the rows lie, relative to the folder of the experiment."""
    folder = file.resolve().parent
    source = Path(os.path.relpath(folder, output.resolve().parent)).as_posix()
    by_name = file.suffix in SUFFIXES and test_file is None
    if by_name:
        beside = f", {files.test.name} is the test" if files.test else ""
        entries = [SuggestedValue("name", file.stem, f"{file.name} is read{beside}")]
    else:
        entries = [SuggestedValue("train_file", file.name, "")]
        if test_file is not None:
            later = Path(os.path.relpath(test_file.resolve(), folder)).as_posix()
            entries.append(SuggestedValue("test_file", later, "rows after all of train, for the judge alone"))
    entries.append(SuggestedValue("source", source, "folder of the files, relative to this file"))
    scope = re.sub(r"[^a-z0-9._-]+", "-", file.stem.lower()).strip("-._")[:63]
    if scope:
        entries.append(SuggestedValue("identifier", scope, "the scope: one champion per scope"))
    return entries


def write_experiment(output: Path, text: str, *, force: bool) -> None:
    """Write the experiment once it is known to be one; an existing file is replaced only with `force`."""
    sources.validate(sources.parse_toml(text, str(output)))
    write_text(output, text, replace=force)
