"""The claims about an ensemble: its hash, its objects, and that its members make it again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.distributions import site  # noqa: F401 - a fixture
from tests.support.ensembles import MEMBERS, repeating  # noqa: F401
from tests.support.experiments import small_spec
from tests.support.stored import fit
from tests.support.tracking import RecordingTracker
from tests.support.verified import Ran, ran

from flts.contracts import layout
from flts.contracts.errors import TrainingFailed
from flts.contracts.records.base import require_record
from flts.contracts.records.run import TrainPart
from flts.evaluate import blend
from flts.report import plots
from flts.runner import candidate
from flts.runner.stored import load_experiment
from flts.spec.models import ENSEMBLE
from flts.train.isolate import Claim
from flts.train.stage import Trained
from flts.verification.claims import FALSE, NOT_RECORDED, TRUE
from flts.wiring import open_store

HERE_ABSENT = {"run.release", "run.revision", "pods.ready", "pods.restarts"}


def _fitted_here(order: Claim, *_: Any) -> Trained:
    """The families of these tests are installed in this process only."""
    store = open_store(order.store)
    return fit(store, load_experiment(store, order.config_hash, order.data_hash), order.model)


@pytest.fixture
def with_ensemble(tmp_path: Path, repeating: None, monkeypatch: pytest.MonkeyPatch) -> Ran:  # noqa: F811
    """A run whose judge made an ensemble."""
    monkeypatch.setattr(candidate, "train_isolated", _fitted_here)
    monkeypatch.setattr(plots, "kept_of", lambda *given: {})
    return ran(tmp_path, small_spec((*MEMBERS, ENSEMBLE)), RecordingTracker())


def test_every_claim_is_true_and_every_object_of_it_is_vouched_for(with_ensemble: Ran, tmp_path: Path) -> None:
    report = with_ensemble.report(tmp_path)
    states = {claim.id: claim.state for claim in report.claims}
    failed = {f"logs.{model}.train_failed" for model in (*MEMBERS, ENSEMBLE)}
    assert {name: state for name, state in states.items() if state != TRUE} == dict.fromkeys(
        HERE_ABSENT | failed, NOT_RECORDED
    )
    made = next(claim for claim in report.claims if claim.id == f"train.{ENSEMBLE}.made")
    assert made.found == dict.fromkeys(MEMBERS, 1)
    assert {f"train.{name}.validation" for name in MEMBERS} <= {*made.rests_on}
    key = layout.run_part(with_ensemble.config_hash, 1, f"train-{ENSEMBLE}")
    part = require_record(with_ensemble.store, key, TrainPart)
    own = [
        *with_ensemble.keys("", f"models/{part.model_hash}/"),
        *with_ensemble.keys("", f"bundles/{part.bundle_sha256}/"),
    ]
    assert len(own) == 5
    for key in own:
        first = with_ensemble.with_object(key, lambda data: data[:-2] + b"  ").alone().first_false
        assert first is not None
        assert key in (first.reason or "")


def test_other_weights_than_the_stored_forecasts_give_are_found(
    with_ensemble: Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blend, "BEST", 2)
    first = with_ensemble.alone().first_false
    assert first is not None
    assert (first.id, first.state) == (f"train.{ENSEMBLE}.made", FALSE)


@pytest.mark.parametrize("models", [MEMBERS, (*MEMBERS, ENSEMBLE)])
def test_a_run_in_which_a_model_failed_stays_true_when_a_later_run_made_it(
    tmp_path: Path,
    repeating: None,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    models: tuple[str, ...],
) -> None:
    def without_season(order: Claim, *_: Any) -> Trained:
        if order.model == "season":
            raise TrainingFailed("stopped", code="time-limit")
        return _fitted_here(order)

    monkeypatch.setattr(plots, "kept_of", lambda *given: {})
    monkeypatch.setattr(candidate, "train_isolated", without_season)
    before = ran(tmp_path, small_spec(models), None).alone()
    monkeypatch.setattr(candidate, "train_isolated", _fitted_here)
    later = ran(tmp_path, small_spec(models), None)
    after = later.alone()
    assert before.first_false is None
    assert [(claim.id, claim.state) for claim in after.claims] == [(claim.id, claim.state) for claim in before.claims]
    assert replace(later, run=2).alone().first_false is None
