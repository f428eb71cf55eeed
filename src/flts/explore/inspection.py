"""What a table contains and what is odd about it, before a run."""

from __future__ import annotations

from dataclasses import dataclass

from flts.contracts.records.base import JsonObject
from flts.explore.document import document
from flts.explore.files import TEST_FRACTION, check_zone
from flts.explore.finding import Finding
from flts.explore.rehearse import verdict
from flts.explore.report import Inspection, inspect
from flts.preprocess.source import RawInput


@dataclass(frozen=True)
class InspectionReport:
    """Every figure, and the findings, those that stop a run first."""

    inspection: Inspection
    findings: tuple[Finding, ...]

    def __repr__(self) -> str:
        seen = self.inspection
        rows = (
            f"{len(seen.train_rows):,} train and {len(seen.test_rows):,} test rows, a row each {seen.placed.grid.step}"
        )
        head = f"<InspectionReport of {seen.train.name}: {rows}, {'usable' if self.usable else 'refused'}>"
        return "\n".join([head, *(f"  {found.severity:<8} {found.message}" for found in self.findings)])

    @property
    def usable(self) -> bool:
        """Whether a run would take these rows."""
        return not any(finding.severity == "stops" for finding in self.findings)

    def document(self) -> JsonObject:
        """Everything as one JSON document, as `flts data inspect --json` prints it."""
        return document(self.inspection, self.findings)


def inspect_rows(raw: RawInput, *, target: str | None, time: str | None, timezone: str | None) -> InspectionReport:
    """Inspect the rows. Raises DataError where no row can be used, SpecError for an unknown zone.

    timezone: of times without one; None takes the zone of the clock that they follow, or UTC.
    """
    if timezone is not None:
        check_zone(timezone)
    inspection = inspect(raw, target=target, time=time, timezone=timezone, test_fraction=TEST_FRACTION)
    return InspectionReport(inspection, tuple(verdict(inspection, TEST_FRACTION)))
