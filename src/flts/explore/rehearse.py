"""Do what a run does before it fits a model, without storing anything, to find what it would refuse."""

from __future__ import annotations

from flts.contracts.errors import DataError, SpecError
from flts.explore.finding import Finding
from flts.explore.findings import findings
from flts.explore.report import Inspection
from flts.preprocess.parquet import TIME
from flts.preprocess.source import RawInput
from flts.preprocess.stage import dataset_of, process
from flts.spec.dataset import Dataset
from flts.spec.fields import Spec
from flts.spec.lineage import Identity
from flts.spec.resolved import named_targets
from flts.train.experiment import Experiment, plan_experiment

UNNAMED = Identity("", {}, "", "")


def rehearse(spec: Spec, raw: RawInput) -> Experiment:
    """The experiment that a run would fit. Raises what the run would raise about the Spec and the rows."""
    if not spec.dataset.targets:
        raise SpecError(
            "dataset.targets is empty; name one or more columns to forecast",
            code="no-targets",
            key="dataset.targets",
        )
    processed = process(spec, raw)
    targets = tuple(named_targets(spec.dataset.targets, processed.summary))
    dataset = dataset_of("", processed.train, processed.test, processed.summary, targets, spec.dataset.time_column)
    return plan_experiment(spec, UNNAMED, dataset)


def refusals(inspection: Inspection, test_fraction: float) -> list[str]:
    """Messages of what `flts run` would refuse: first in reading, then, after repairs, in everything before a fit."""
    messages = list(inspection.refusals)
    if inspection.target is None:
        return [*messages, f"{inspection.train.name}: {inspection.why_target}, so there is nothing to forecast"]
    dataset = Dataset(
        time_column=TIME, timezone=inspection.timezone, targets=[inspection.target], test_fraction=test_fraction
    )
    try:
        rehearse(Spec(dataset=dataset), inspection.repaired())
    except DataError as error:
        messages.append(str(error))
    return messages


def verdict(inspection: Inspection, test_fraction: float) -> list[Finding]:
    """All findings, first those that `flts run` would refuse."""
    return findings(inspection, refusals(inspection, test_fraction))
