"""Everything a run does before it fits anything, with nothing stored: what would be refused is known beforehand."""

from __future__ import annotations

from flts.contracts.errors import DataError, SpecError
from flts.explore.findings import Finding, findings
from flts.explore.report import Inspection
from flts.preprocess.parquet import TIME
from flts.preprocess.source import RawInput
from flts.preprocess.stage import dataset_of, process
from flts.spec.fields import Dataset, Spec
from flts.spec.lineage import Identity
from flts.train.experiment import Experiment, plan_experiment

UNNAMED = Identity("", {}, "", "")


def rehearse(spec: Spec, raw: RawInput) -> Experiment:
    """The experiment a run would go on with. Raises what a run would raise of the Spec and of the rows."""
    targets = tuple(spec.dataset.targets)
    if not targets:
        raise SpecError(
            "dataset.targets names no column; name the column to forecast, or several",
            code="no-targets",
            key="dataset.targets",
        )
    processed = process(spec, raw)
    dataset = dataset_of("", processed.train, processed.test, processed.summary, targets, spec.dataset.time_column)
    return plan_experiment(spec, UNNAMED, dataset)


def refusals(seen: Inspection, test_fraction: float) -> list[str]:
    """What `flts run` would refuse: in reading, and then, with that mended, in all that comes before a fit."""
    said = list(seen.refusals)
    if seen.target is None:
        return [*said, f"{seen.train.name}: {seen.why_target}, so there is nothing to forecast"]
    dataset = Dataset(time_column=TIME, timezone=seen.timezone, targets=[seen.target], test_fraction=test_fraction)
    try:
        rehearse(Spec(dataset=dataset), seen.mended())
    except DataError as error:
        said.append(str(error))
    return said


def verdict(seen: Inspection, test_fraction: float) -> list[Finding]:
    """All findings, what `flts run` refuses first."""
    return findings(seen, refusals(seen, test_fraction))
