"""An ensemble of results that nobody fitted: weights, intervals, forecasts and what its bundle says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import hourly
from tests.support.stored import fit

from flts.contracts.ports import Store
from flts.evaluate.blend import ENOUGH
from flts.forecasting.bundle import read_bundle
from flts.forecasting.histories import one_per_stratum
from flts.forecasting.intervals import LEVELS
from flts.promotion.ensemble import Ingredient, combine
from flts.promotion.judge import yardstick
from flts.train.experiment import Experiment
from flts.train.windows import split_validation, train_origins

Outputs = Mapping[str, Any]
ERRORS = {"a": 2.0, "b": 3.0, "c": 3.5, "d": 9.0}
"""Standard deviations of the normal errors of each member."""


def cases() -> Outputs:
    """The outputs of every case by name."""
    return {"best": combined(0.1), "greedy": combined(0.5)}


def combined(fraction: float) -> Outputs:
    """The ensemble of four members, whose validation windows are this share of those of train."""
    spec = small_spec(
        dataset={"targets": ["wind", "load"]}, train={"validation_fraction": fraction}, evaluate={"windows": 4}
    )
    experiment, store = small_experiment(spec, hourly(300))
    rows = split_validation(train_origins(experiment.dataset.train, experiment.task), 3, fraction)[1]
    members = {
        name: _member(experiment, store, fit(store, experiment).bundle_sha256, rows, place, error)
        for place, (name, error) in enumerate(ERRORS.items())
    }
    made, answers = combine(experiment, members, yardstick(experiment.dataset, experiment.task))
    assert (len(rows) >= ENOUGH) is (made.fit.chosen["rule"] == "greedy")
    manifest = made.manifest
    return {
        "chosen": dict(made.fit.chosen),
        "intervals": manifest.intervals.model_dump(mode="json"),
        "history": [manifest.history_rows, manifest.min_history_rows, manifest.uses_history],
        "self_test": manifest.self_test.mean,
        "validation": made.validation_forecasts[-1].tolist(),
        "forecasts": {name: values.tolist() for name, values in answers.columns().items()},
    }


def _member(
    experiment: Experiment, store: Store, bundle_sha256: str, rows: Any, place: int, error: float
) -> Ingredient:
    """The truth with errors; its intervals on the test windows are wider than those of training by half."""
    drawn, task = np.random.default_rng([place, 17]), experiment.task
    train, sampled = experiment.dataset.train, one_per_stratum(rows, 200)
    truth = train.select(task.fitted.targets)[sampled[:, None] + np.arange(task.horizon)]
    test = experiment.windows.truth(experiment.dataset, task.horizon).values
    manifest, _ = read_bundle(store, bundle_sha256)
    assert manifest.intervals.offsets is not None
    ones = np.ones(test.shape)
    half = {
        f"half_width_{100 * level:.0f}": 1.5 * np.array(manifest.intervals.offsets[f"{level:g}"]) * ones
        for level in LEVELS
    }
    return Ingredient(
        f"{place}" * 64,
        manifest.model_copy(update={"history_rows": 12 + place, "min_history_rows": 1 + place}),
        train.times[sampled - 1],
        truth + drawn.normal(0.0, error, truth.shape),
        {"y_hat": test + drawn.normal(0.0, error, test.shape), "spread": ones, "adaptive": ones * (place == 1), **half},
    )
