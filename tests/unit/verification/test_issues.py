"""What a run itself gives reason to doubt is said with its own figures, and nothing is said of a run without doubts."""

from __future__ import annotations

import json

import numpy as np
from tests.support.experiments import small_experiment, small_spec
from tests.support.stored import fit, put_claim, put_failure, put_forecasts, put_train_part, truth
from tests.support.tracking import context_of
from tests.support.verified import Ran

from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.ports import Store
from flts.promotion.stage import Judged
from flts.runner.judgement import judge_run
from flts.train.experiment import Experiment
from flts.verification.claims import NOT_RECORDED, TRUE
from flts.verification.report import Report, examine
from flts.verification.write.markdown import to_markdown


def judged(experiment: Experiment, store: Store) -> Report:
    """The report about the first run of an experiment whose models have ended."""
    identity = experiment.identity
    store.create(layout.spec(identity.config_hash), canonical_json(experiment.spec.identity()))
    put_claim(store, experiment)
    context = context_of(store)
    context.environment = "tests"
    assert isinstance(judge_run(context, experiment, "global", 1, actor="tests"), Judged)
    return examine(store, identity.config_hash, 1)


def off_by(experiment: Experiment, store: Store, error: float) -> Report:
    """The report about a run of ridge whose forecasts have normal errors of this standard deviation."""
    fit(store, experiment)
    for key in store.list("models/"):
        if "/windows/" in key:
            store.erase(key)
    noise = np.random.default_rng(1).normal(0.0, error, truth(experiment).shape)
    put_forecasts(store, experiment, "ridge", truth(experiment) + noise)
    put_train_part(store, experiment, 1, "ridge")
    return judged(experiment, store)


def test_a_failed_candidate_is_an_issue_and_makes_no_claim_false() -> None:
    experiment, store = small_experiment(small_spec(("gru", "ridge")))
    fit(store, experiment)
    put_train_part(store, experiment, 1, "ridge")
    put_failure(store, experiment, "gru", reason="it ran out of memory")
    report = judged(experiment, store)
    assert report.first_false is None, report.first_false
    assert report.claim("train.gru.outcome").found == "TrainingFailed: it ran out of memory"
    assert report.claim("train.gru.rmse").state == NOT_RECORDED
    assert report.claim("evaluation.gru.row").state == TRUE
    (issue,) = (issue for issue in report.issues if issue.id == "failed.gru")
    assert issue.says in to_markdown(report)


def test_a_model_that_does_not_beat_naive_is_an_issue() -> None:
    experiment, store = small_experiment(small_spec(evaluate={"windows": 12}))
    report = off_by(experiment, store, 500.0)
    found = {issue.id: issue.says for issue in report.issues}
    assert {"no-skill", "few-windows"} <= found.keys()
    assert "12 test windows are too few" in found["few-windows"]
    assert "Recommendations\n\nNone." not in to_markdown(report)


def test_more_threads_than_a_process_may_use_are_an_issue(healthy: Ran) -> None:
    def limited(data: bytes) -> bytes:
        part = json.loads(data)
        return canonical_json({**part, "machine": {**part["machine"], "cpu_limit": 0.5, "python": "3.12.1"}})

    report = healthy.with_object(healthy.key("train-ridge.json"), limited).alone()
    found = {issue.id: issue for issue in report.issues}
    assert "the process of ridge may use 0.5 cores" in found["threads.ridge"].says
    assert "on Python 3.12.1 (ridge)" in found["versions"].says
    assert not {"threads.ridge", "versions"} & {issue.id for issue in healthy.alone().issues}


def test_a_good_run_raises_nothing_and_recommends_nothing() -> None:
    experiment, store = small_experiment(small_spec())
    report = off_by(experiment, store, 1.0)
    assert [issue for issue in report.issues if not issue.id.startswith("certainty")] == []
    assert "## Recommendations\n\nNone." in to_markdown(report)
