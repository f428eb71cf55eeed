"""What the judge accepts is true: a result that was made again elsewhere, and the reason of an earlier run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.stored import contents, fit, put_claim, put_failure, put_forecasts, put_model, put_train_part, truth
from tests.support.tracking import context_of
from tests.support.verified import Ran

from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.records.model import MadeOn, ModelResult
from flts.forecasting.bundle import read_bundle, write_bundle
from flts.promotion.stage import Judged
from flts.runner.judgement import judge_run
from flts.runner.stored import load_experiment
from flts.verification.claims import FALSE, TRUE
from flts.verification.report import examine

TIME = "20260102T030405.000000Z"


@pytest.fixture
def made_again(healthy: Ran) -> Ran:
    """The same where a recompute put the result aside and made another one, with better forecasts."""
    other = healthy.copied()
    experiment = load_experiment(other.store, other.config_hash, other.data_hash)
    for key, data in contents(other.store, "models/").items():
        other.store.create(layout.quarantined(TIME, key), data)
        other.store.erase(key)
    put_model(other.store, experiment, "ridge", bundle_of(healthy))
    put_forecasts(other.store, experiment, "ridge", truth(experiment) + 0.5)
    return other


def bundle_of(healthy: Ran) -> str:
    return healthy.key("manifest.json", "bundles/").split("/")[1]


def test_a_run_is_checked_on_what_it_was_judged_from(healthy: Ran, made_again: Ran) -> None:
    report, before = made_again.alone(), healthy.alone()
    assert report.first_false is None, report.first_false
    for claim in ("train.ridge.rmse", "evaluation.ridge.score", "evaluation.evidence"):
        assert report.claim(claim).state == TRUE
        assert report.claim(claim).found == before.claim(claim).found
    moved = [issue.says for issue in report.issues if issue.id.startswith("put-aside.")]
    assert len(moved) == 2
    assert all(TIME in says for says in moved)


@pytest.mark.parametrize(
    ("ending", "claim"),
    [
        ("/result.json", "train.ridge.result"),
        ("validation.parquet", "train.ridge.validation"),
        ("forecasts.parquet", "train.ridge.forecasts"),
    ],
)
def test_what_is_changed_in_quarantine_is_found(made_again: Ran, ending: str, claim: str) -> None:
    key = next(key for key in made_again.keys(ending, "quarantine/"))
    first = made_again.with_object(key, lambda data: data + b" ").alone().first_false
    assert first is not None
    assert (first.id, first.state) == (claim, FALSE)


def test_another_result_is_false_where_the_first_one_is_not_kept(made_again: Ran) -> None:
    other = made_again.copied()
    for key in other.keys("", "quarantine/"):
        other.store.erase(key)
    first = other.alone().first_false
    assert first is not None
    assert first.id == "train.ridge.result"


@pytest.fixture
def equal_elsewhere(healthy: Ran) -> Ran:
    """A second run, for which a recompute elsewhere gave another bundle with the same forecasts."""
    other = healthy.copied()
    experiment = load_experiment(other.store, other.config_hash, other.data_hash)
    manifest, files = read_bundle(other.store, bundle_of(healthy))
    nudged = [[value * (1 + 1e-12) for value in row] for row in manifest.self_test.mean]
    test = manifest.self_test.model_copy(update={"mean": nudged})
    bundle = write_bundle(other.store, manifest.model_copy(update={"self_test": test}), files)
    model_hash = experiment.identity.model_hashes["ridge"]
    for key, data in contents(other.store, "models/").items():
        other.store.create(layout.quarantined(TIME, key), data)
    again = ModelResult.model_validate_json(other.store.get(layout.model_result(model_hash)) or b"")
    made_on = MadeOn(libraries={}, processor="another processor")
    again = again.model_copy(update={"bundle_sha256": bundle, "made_on": made_on})
    other.store.replace(layout.model_result(model_hash), again.to_bytes())
    put_claim(other.store, experiment, 2)
    put_train_part(other.store, experiment, 2, "ridge", bundle_sha256=bundle)
    context = context_of(other.store)
    context.environment = "tests"
    judged = judge_run(context, experiment, "global", 2, actor="tests")
    assert isinstance(judged, Judged)
    assert judged.repeated
    return replace(other, run=2, log=None)


def test_equal_forecasts_of_another_fit_are_the_decision_that_was_made_first(equal_elsewhere: Ran) -> None:
    report = equal_elsewhere.alone()
    assert report.first_false is None, report.first_false
    assert report.claim("evaluation.ridge.row").state == TRUE
    (issue,) = (issue for issue in report.issues if issue.id == "made-again.ridge")
    assert "another processor" in issue.says
    assert replace(equal_elsewhere, run=1).alone().first_false is None


def test_another_bundle_is_false_where_the_first_result_is_not_kept(equal_elsewhere: Ran) -> None:
    (aside,) = (key for key in equal_elsewhere.keys("/result.json", "quarantine/") if "/windows/" not in key)
    gone = equal_elsewhere.copied()
    gone.store.erase(aside)
    for other in (gone, equal_elsewhere.with_object(aside, lambda data: data + b" ")):
        first = other.alone().first_false
        assert first is not None
        assert (first.id, first.state) == ("train.ridge.result", FALSE)


def test_a_decision_keeps_the_reason_of_the_run_that_made_it_first() -> None:
    experiment, store = small_experiment(small_spec(("gru", "ridge")))
    identity = experiment.identity
    store.create(layout.spec(identity.config_hash), canonical_json(experiment.spec.identity()))
    fit(store, experiment)
    context = context_of(store)
    context.environment = "tests"
    decisions = []
    for run, reason in enumerate(("one", "another", "a third"), 1):
        put_claim(store, experiment, run)
        put_train_part(store, experiment, run, "ridge")
        put_failure(store, experiment, "gru", run, reason=reason)
        judged = judge_run(context, experiment, "global", run, actor="tests")
        assert isinstance(judged, Judged)
        decisions.append(judged.decision.decision_id)
    assert len(set(decisions)) == 1
    for run in (1, 2, 3):
        report = examine(store, identity.config_hash, run)
        assert report.first_false is None, report.first_false
    store.erase(layout.failure(identity.config_hash, 1, "gru"))
    put_failure(store, experiment, "gru", 1, reason="made up")
    report = examine(store, identity.config_hash, 3)
    assert report.first_false is not None
    assert report.first_false.id == "evaluation.why_not"
