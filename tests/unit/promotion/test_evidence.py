"""A decision names what it rests on, and whoever reads that again finds what was changed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.stored import as_json, copy, fit, gathered, put_result
from tests.support.tracking import context_of

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.decision import DecisionRecord
from flts.promotion.evidence import digest_of, kept_aside, refuse_changed
from flts.promotion.judge import baselines
from flts.promotion.stage import Judged, promote
from flts.runner.judgement import judgement_of, record_judgement
from flts.runner.quarantine import put_aside
from flts.runner.stopwatch import Stopwatch
from flts.train.experiment import Experiment

Made = tuple[Experiment, Store]
SPEC = small_spec(("ridge", "gru"))


def judged(store: Store, experiment: Experiment) -> Judged:
    context = context_of(store)
    return promote(
        store,
        context.bus,
        context.clock,
        experiment,
        gathered(store, experiment),
        scope="global",
        actor="tests",
        run_ids={},
    )


@pytest.fixture(scope="module")
def made() -> Made:
    """A ridge that was fitted and promoted, beside a worse model."""
    experiment, store = small_experiment(SPEC)
    put_result(store, experiment, "gru", fit(store, experiment).bundle_sha256, 9.0)
    result = judged(store, experiment)
    context, config_hash = context_of(store), experiment.identity.config_hash
    watch = Stopwatch.start(context.clock)
    record_judgement(context, judgement_of(context, config_hash, "global", 1, result, {}, watch=watch))
    return experiment, store


@pytest.fixture
def store(made: Made) -> Store:
    """A copy, to be changed."""
    fresh = memory_store()
    copy(made[1], fresh)
    return fresh


def decision(store: Store) -> DecisionRecord:
    (key,) = (key for key in store.list(layout.decisions("global")) if "preview" not in key)
    return require_record(store, key, DecisionRecord)


def behind(experiment: Experiment, name: str = "ridge") -> dict[str, str]:
    model_hash, windows_hash = experiment.identity.model_hashes[name], experiment.identity.windows_hash
    return {
        "data": layout.meta(experiment.identity.data_hash),
        "model": layout.model_result(model_hash),
        "windows": layout.windows_result(model_hash, windows_hash),
        "forecasts": layout.forecasts(model_hash, windows_hash),
    }


def test_a_decision_names_every_object_that_it_rests_on_and_the_baselines(made: Made) -> None:
    experiment, store = made
    named = decision(store).evidence
    assert named is not None
    keys = {*behind(experiment).values(), *behind(experiment, "gru").values()}
    assert named.objects == {key: sha256(store.get(key) or b"") for key in keys}
    made_again = {b.name: b.forecast for b in baselines(experiment) if b.forecast is not None}
    assert named.baselines == {name: digest_of(forecast) for name, forecast in made_again.items()}
    assert set(named.baselines) == {"naive", "seasonal_naive"}


def test_the_digest_of_a_forecast_is_that_of_its_numbers_in_one_order() -> None:
    forecast = np.array([[[1.0, 2.0], [3.0, 4.0]]])
    assert digest_of(forecast) == sha256(b"".join(np.float64(n).tobytes() for n in (1.0, 2.0, 3.0, 4.0)))
    assert digest_of(np.asfortranarray(forecast)) == digest_of(forecast)


def test_a_model_that_candidates_were_compared_with_is_named_too(made: Made) -> None:
    """The champion of another experiment has forecasts of these windows that the judge made."""
    first, store = made
    later, fresh = small_experiment(small_spec(evaluate={"windows": 6}))
    both = memory_store()
    copy(store, both)
    copy(fresh, both)
    fit(both, later)
    result = judged(both, later)
    assert result.decision.record.evidence is not None
    champion = layout.windows_result(first.identity.model_hashes["ridge"], later.identity.windows_hash)
    assert champion in result.decision.record.evidence.objects


@pytest.mark.parametrize("name", ["model", "windows"])
def test_a_result_that_was_changed_since_is_named_by_the_next_judgement(made: Made, store: Store, name: str) -> None:
    """A space more is a valid record with the same content: only its digest tells."""
    key = behind(made[0])[name]
    store.replace(key, (store.get(key) or b"") + b" ")
    with raises(DamagedObject, code="digest-differs", key=key):
        judged(store, made[0])


def curve_changed(experiment: Experiment, store: Store) -> str:
    """Another number in a valid result.json, which nothing but the decision tells."""
    key = behind(experiment)["model"]
    store.replace(key, canonical_json({**as_json(store, key), "curve": [[0.5, 0.5]]}))
    return key


def test_a_recompute_puts_aside_what_the_decision_does_not_rest_on(made: Made, store: Store) -> None:
    experiment = made[0]
    key = curve_changed(experiment, store)
    put_aside(context_of(store), experiment, "ridge")
    assert not store.exists(key)
    fit(store, experiment)
    assert store.get(key) == made[1].get(key)
    assert judged(store, experiment).decision.outcome == "keep"


def test_a_result_that_was_made_again_elsewhere_is_judged_and_the_first_one_is_still_found(
    made: Made, store: Store
) -> None:
    """Its result says where it was made, so it has another digest although its forecasts are equal."""
    experiment = made[0]
    key = behind(experiment)["model"]
    first = store.get(key)
    store.erase(layout.validation(experiment.identity.model_hashes["ridge"]))
    put_aside(context_of(store), experiment, "ridge")
    fit(store, experiment)
    here = as_json(store, key)
    store.replace(key, canonical_json({**here, "made_on": {**here["made_on"], "processor": "another"}}))
    assert judged(store, experiment).decision.outcome == "keep"
    aside = kept_aside(store, key, sha256(first or b""))
    assert aside is not None
    assert store.get(aside) == first
    before = set(store.list("quarantine/"))
    put_aside(context_of(store), experiment, "ridge")
    assert set(store.list("quarantine/")) == before


def without_evidence(record: DecisionRecord) -> DecisionRecord:
    return record.model_copy(update={"evidence": None})


@pytest.mark.parametrize("change", [lambda record: record, without_evidence])
def test_evidence_is_no_part_of_what_a_decision_is(
    made: Made, store: Store, change: Callable[[DecisionRecord], DecisionRecord]
) -> None:
    """A decision that an earlier flts stored without it stays as it is and is not decided again."""
    experiment = made[0]
    key = layout.decision("global", decision(store).decision_id)
    data = change(decision(store)).to_bytes()
    for log in store.list(layout.log("global")):
        store.erase(log)
    store.replace(key, data)
    first, again = judged(store, experiment), judged(store, experiment)
    assert (first.decision.outcome, first.repeated, again.decision.outcome) == ("promote", False, "keep")
    assert store.get(key) == data
    assert first.decision.decision_id == key.rpartition("/")[2].removesuffix(".json")


def test_nothing_is_compared_with_a_decision_that_names_nothing(store: Store) -> None:
    refuse_changed(store, without_evidence(decision(store)), {"models/a/result.json": "0" * 64})
