"""The ensemble: which hash its members give it, and whether it can be made again from what is stored of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flts.contracts import layout
from flts.contracts.errors import DamagedObject
from flts.contracts.records.model import WindowsResult
from flts.contracts.records.run import TrainPart
from flts.evaluate.case import Candidate
from flts.promotion.ensemble import combine, ensemble_hash, ingredients
from flts.promotion.judge import Waiting, gather_trained, yardstick
from flts.train.stage import fitted_bundle
from flts.verification.claims import FALSE, Found, recorded
from flts.verification.evidence import Rehearsal, RunEvidence
from flts.verification.since import made_since


def hash_of_ensemble(evidence: RunEvidence) -> str:
    """The hash that the members which succeeded give the ensemble. Raises DamagedObject where one is missing."""
    return ensemble_hash(evidence.identity, _members(evidence))


def made_again(evidence: RunEvidence, part: TrainPart) -> Found:
    """Weights, members and forecasts by the functions that the judge uses: sums, so they are equal to the bit."""
    experiment = evidence.experiment
    scale = yardstick(experiment.dataset, experiment.task)
    made, answers = combine(experiment, ingredients(evidence, experiment, _members(evidence)), scale)
    manifest, _ = fitted_bundle(evidence, evidence.result(part.model_hash))
    if manifest.members != made.manifest.members or manifest.chosen != made.manifest.chosen:
        reason = f"the bundle of {part.model} has other members or weights than the stored forecasts give"
        return Found(FALSE, manifest.chosen, made.manifest.chosen, reason)
    if manifest != made.manifest:
        reason = f"the bundle of {part.model} has other intervals or another history than its members give"
        return Found(FALSE, reason=reason)
    key = layout.windows_result(part.model_hash, experiment.identity.windows_hash)
    stored = evidence.required(key, WindowsResult).forecasts_sha256
    values = experiment.forecasts(evidence, part.model_hash, stored)
    if not np.array_equal(values["y_hat"], answers.mean):
        return Found(FALSE, reason=f"{part.model} has other test forecasts than the weighted mean of its members")
    return recorded({name: member.weight for name, member in (manifest.members or {}).items()})


def _members(evidence: RunEvidence) -> Sequence[Candidate]:
    as_it_was = Rehearsal(evidence, {}, made_since(evidence))
    members = gather_trained(as_it_was, evidence.experiment, evidence.run)
    if isinstance(members, Waiting):
        missing = ", ".join(members.missing)
        raise DamagedObject(f"neither a result nor a failure is stored for {missing}", code="result-missing")
    return members
