"""The ensemble of a run, made of what is stored of its members: by any judge, and by each the same.

No model is loaded. The forecasts of the validation windows choose the weights, those of the test windows give its
forecasts, and its bundle is described by the manifests of theirs. Everything lies under a hash that names the members
which succeeded, and is created once, as the results of a fit are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np

from flts.contracts import layout
from flts.contracts.canonical import digest
from flts.contracts.errors import NotApplicable
from flts.contracts.ports import Store, read_checked
from flts.contracts.records.base import plain_json, require_record
from flts.contracts.records.model import Manifest, ModelResult
from flts.evaluate.blend import blend
from flts.evaluate.case import Candidate
from flts.evaluate.metrics import Yardstick
from flts.forecasting.answers import Answers
from flts.forecasting.ensemble import MeanOfModels, Share, combined, ensemble_manifest, weighted_mean
from flts.forecasting.histories import Histories
from flts.forecasting.model import Model
from flts.forecasting.scale import offered
from flts.forecasting.tables import forecasts_from_parquet, origins_from_parquet
from flts.models.base import Fit, History
from flts.preprocess.rows import Times, Values
from flts.spec.lineage import Identity, made_of_fields
from flts.spec.models import ENSEMBLE, FEWEST_MEMBERS
from flts.train.experiment import Experiment
from flts.train.fitting import FittedModel
from flts.train.residuals import Residuals, intervals_of
from flts.train.stage import (
    Made,
    Trained,
    commit_fit,
    commit_forecasts,
    differs_from,
    fitted_bundle,
    stored_result,
    trained_of,
)


@dataclass(frozen=True)
class Ingredient:
    """What is stored of a member that succeeded.

    origins (UTC ns) and validation [windows, horizon, targets]: its validation windows, in original units; test: the
    columns of the table of its test forecasts.
    """

    bundle_sha256: str
    manifest: Manifest
    origins: Times
    validation: Values
    test: Mapping[str, Values]


def ensemble_hash(identity: Identity, candidates: Sequence[Candidate]) -> str:
    """The hash under which the ensemble of these candidates lies; that of the experiment where too few succeeded."""
    declared, succeeded = identity.model_hashes[ENSEMBLE], _succeeded(candidates)
    if len(succeeded) < FEWEST_MEMBERS:
        return declared
    members = {
        c.name: {
            "model_hash": c.model_hash,
            "bundle_sha256": c.bundle_sha256,
            "validation_sha256": c.validation_sha256,
        }
        for c in succeeded
    }
    return digest(made_of_fields(declared, members))


def make_ensemble(
    store: Store, experiment: Experiment, candidates: Sequence[Candidate], yardstick: Yardstick, *, recompute: bool
) -> Trained:
    """Make the ensemble of the candidates that succeeded, unless it is stored. Each result is committed once.

    recompute: make it again and compare it with the stored one, which stays. Raises NotApplicable for fewer than two
    members, DamagedObject where one cannot be read.
    """
    succeeded = _succeeded(candidates)
    if len(succeeded) < FEWEST_MEMBERS:
        raise NotApplicable(
            f"needs {FEWEST_MEMBERS} models with a result, has {len(succeeded)}",
            code="members-too-few",
            expected=FEWEST_MEMBERS,
            found=len(succeeded),
        )
    made, windows = Made(ENSEMBLE, ensemble_hash(experiment.identity, candidates)), experiment.windows
    stored = stored_result(store, ENSEMBLE, made.model_hash, windows.windows_hash)
    if stored is not None and not recompute:
        return stored
    again = store.exists(layout.model_result(made.model_hash))
    new, answers = combine(experiment, ingredients(store, experiment, succeeded), yardstick)
    result, verdict = commit_fit(store, made, new, experiment.task.fitted.targets, again=again)
    committed, same = commit_forecasts(answers, experiment.task, made.model_hash, windows, store, experiment.dataset)
    if not same:
        verdict = differs_from(made, result.made_on, ["forecasts_sha256"])
    return trained_of(ENSEMBLE, result, committed, fitted=True, recomputed=verdict if again and recompute else None)


def ingredients(store: Store, experiment: Experiment, candidates: Sequence[Candidate]) -> dict[str, Ingredient]:
    """What is stored of those candidates that succeeded, by name. Raises DamagedObject."""
    return {c.name: _ingredient(store, experiment, c) for c in _succeeded(candidates)}


def combine(
    experiment: Experiment, members: Mapping[str, Ingredient], yardstick: Yardstick
) -> tuple[FittedModel, Answers]:
    """The ensemble of these members before it is stored, and its test forecasts."""
    task, train = experiment.task, experiment.dataset.train
    origins = reduce(np.intersect1d, (member.origins for member in members.values()))
    if not len(origins):
        raise NotApplicable("its members have no validation window in common", code="no-common-window")
    rows = np.searchsorted(train.times, origins) + 1
    targets = train.select(task.fitted.targets)
    truth = targets[rows[:, None] + np.arange(task.horizon)]
    tails = {
        name: member.validation[np.searchsorted(member.origins, origins)] for name, member in sorted(members.items())
    }
    chosen = blend(truth, tails, yardstick, experiment.spec.evaluate.weights)
    tail = weighted_mean([(weight, tails[name]) for name, weight in chosen.weights.items()])

    chosen_members = {name: (weight, members[name]) for name, weight in chosen.weights.items()}
    model, histories = _spreads_only(experiment, chosen_members), Histories(train, rows)
    spreads = {scale: model.spread_all(histories, scale) for scale in offered(targets)}
    intervals, _ = intervals_of(Residuals(truth, tail, spreads), task.fitted.target_range[1])
    said = plain_json({"rule": chosen.rule, "weights": dict(chosen.weights), "windows": len(origins)})
    manifest = ensemble_manifest(
        {name: (weight, member.bundle_sha256, member.manifest) for name, (weight, member) in chosen_members.items()},
        intervals,
        said,
    )
    shares = [Share.of_table(weight, member.manifest, member.test) for weight, member in chosen_members.values()]
    spread = model.spread_all(experiment.windows.histories(experiment.dataset), intervals.scale)
    return FittedModel({}, manifest, Fit({}, said), origins, tail), combined(manifest, shares, spread)


def _succeeded(candidates: Sequence[Candidate]) -> list[Candidate]:
    members = (c for c in candidates if c.name != ENSEMBLE and c.status == "SUCCESS")
    return sorted(members, key=lambda candidate: candidate.name)


def _ingredient(store: Store, experiment: Experiment, candidate: Candidate) -> Ingredient:
    result = require_record(store, layout.model_result(candidate.model_hash), ModelResult)
    manifest, _ = fitted_bundle(store, result)
    key, task = layout.validation(candidate.model_hash), experiment.task
    table = read_checked(store, key, result.validation_sha256)
    origins = origins_from_parquet(table, key=key)
    tail = forecasts_from_parquet(table, origins, task.fitted.targets, task.horizon, key=key)["y_hat"]
    assert candidate.forecasts_sha256 is not None
    test = experiment.forecasts(store, candidate.model_hash, candidate.forecasts_sha256)
    return Ingredient(result.bundle_sha256, manifest, origins, tail, test)


def _spreads_only(experiment: Experiment, members: Mapping[str, tuple[int, Ingredient]]) -> Model:
    """A model that knows how many rows the members use, and so the spread of a history; it forecasts nothing."""
    rows = max(member.manifest.history_rows for _, member in members.values())
    return Model(MeanOfModels(()), experiment.task, History(rows, rows))
