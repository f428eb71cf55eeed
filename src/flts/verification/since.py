"""What was made after a run was judged: a model that failed in it may have a result by now, from a later run.

A judge counts the result of any run. Claims about a run in which there was none yet are about the run without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress

from flts.contracts import layout
from flts.contracts.errors import DamagedObject
from flts.contracts.records.decision import UnrankedRow
from flts.contracts.records.run import FailurePart
from flts.verification.evidence import RunEvidence


def made_since(evidence: RunEvidence) -> Collection[str]:
    """The keys of the results that the judge of this run cannot have found.

    They are of models that failed in this run and that its decision, if it has one, does not rank for that reason.
    """
    found = set()
    with evidence.noting():  # what is not looked at vouches for nothing
        for model in evidence.experiment.spec.trained:
            with suppress(DamagedObject):  # its claims say so
                if evidence.trained(model) is None and evidence.failed(model) and _left_out(evidence, model):
                    found.add(layout.model_result(evidence.identity.model_hashes[model]))
    return found


def failures_until_now(evidence: RunEvidence, model: str) -> Iterator[FailurePart]:
    """The failures of a model in this run and in those before it, the newest first."""
    for run in range(evidence.run, 0, -1):
        with suppress(DamagedObject):
            failure = evidence.record(layout.failure(evidence.config_hash, run, model), FailurePart)
            if failure is not None:
                yield failure


def _left_out(evidence: RunEvidence, model: str) -> bool:
    decision = evidence.decision
    if decision is None:
        return True
    said = {row.reason for row in decision.candidates if isinstance(row, UnrankedRow) and row.model == model}
    return any(f"{failure.error}: {failure.reason}" in said for failure in failures_until_now(evidence, model))
