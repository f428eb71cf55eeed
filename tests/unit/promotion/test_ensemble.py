"""An ensemble is made of stored results alone, the same by whoever judges, under a hash that names its members."""

from __future__ import annotations

import sys
from functools import partial
from itertools import permutations

import numpy as np
import pytest
from tests.support.distributions import site  # noqa: F401 - a fixture
from tests.support.ensembles import MEMBERS, ensemble_experiment, made, members_of, repeating, with_members  # noqa: F401
from tests.support.raising import raises
from tests.support.stored import Watched, contents, copy, fit, gathered, put_claim, put_failure

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.errors import DamagedObject, Interrupted, NotApplicable
from flts.contracts.records.base import require_record
from flts.contracts.records.model import ModelResult
from flts.evaluate.blend import DRAWS, ENOUGH
from flts.forecasting.bundle import MANIFEST, TOLERANCE, load_bundle, read_bundle
from flts.promotion.ensemble import ensemble_hash
from flts.promotion.judge import Waiting, gather
from flts.spec.models import ENSEMBLE
from flts.train.stage import bundle_forecasts

pytestmark = pytest.mark.usefixtures("repeating")

MANY = {"validation_fraction": 0.5}
"""Enough validation windows for drawn weights."""


@pytest.mark.parametrize(("rule", "rules"), [("best", {}), ("greedy", MANY)])
def test_its_forecasts_are_the_weighted_mean_and_are_those_that_its_bundle_makes(
    rule: str, rules: dict[str, float]
) -> None:
    experiment, store = with_members(train=rules)
    trained = made(store, experiment)
    bundle = load_bundle(store, trained.bundle_sha256)
    bundle.self_test()
    weights = {name: member.weight for name, member in (bundle.manifest.members or {}).items()}
    assert trained.chosen["weights"] == weights
    assert trained.chosen["rule"] == rule
    assert sum(weights.values()) == (DRAWS if rule == "greedy" else len(MEMBERS))
    stored = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    tables_of = {
        c.name: experiment.forecasts(store, c.model_hash, c.forecasts_sha256 or "")["y_hat"]
        for c in members_of(store, experiment)
    }
    mean = sum((count * tables_of[name] for name, count in weights.items()), np.zeros(stored["y_hat"].shape))
    np.testing.assert_array_equal(stored["y_hat"], mean / sum(weights.values()))
    served = bundle_forecasts(bundle, experiment.dataset, experiment.windows).columns()
    allowed = TOLERANCE * float(experiment.task.fitted.target_range[1][0])
    assert stored.keys() == served.keys()
    for name, values in served.items():
        np.testing.assert_allclose(stored[name], values, atol=allowed, rtol=0.0, err_msg=name)


def test_its_offsets_are_those_of_windows_that_chose_no_weight() -> None:
    experiment, store = with_members(train=MANY)
    trained = made(store, experiment)
    manifest, _ = read_bundle(store, trained.bundle_sha256)
    result = require_record(store, layout.model_result(trained.model_hash), ModelResult)
    count = result.chosen["windows"]
    assert isinstance(count, int)
    assert count >= ENOUGH
    assert manifest.intervals.offsets is not None
    assert manifest.intervals.scores is None
    assert manifest.files == {}


def test_a_bundle_needs_the_most_history_and_the_columns_of_all_its_members() -> None:
    experiment, store = with_members()
    manifest, _ = read_bundle(store, made(store, experiment).bundle_sha256)
    members = [read_bundle(store, member.bundle_sha256)[0] for member in (manifest.members or {}).values()]
    assert manifest.history_rows == max(member.history_rows for member in members)
    assert manifest.min_history_rows == max(member.min_history_rows for member in members)
    assert {*manifest.columns} == {column for member in members for column in member.columns}
    assert load_bundle(store, made(store, experiment).bundle_sha256).model.history_rows == manifest.history_rows


def test_no_model_is_loaded_and_no_library_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = with_members()
    for name in ("torch", "prophet", "statsforecast", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr("flts.forecasting.bundle.assemble", lambda *given: pytest.fail("a model was loaded"))
    assert made(store, experiment).fitted


def test_results_that_arrive_in_any_order_make_the_same_ensemble() -> None:
    experiment, fitted = with_members()
    results = []
    for order in permutations(members_of(fitted, experiment)):
        store = memory_store()
        copy(fitted, store)
        made(store, experiment, order)
        results.append(contents(store))
    assert all(result == results[0] for result in results)


def test_a_second_judge_writes_nothing() -> None:
    experiment, store = with_members()
    first = made(store, experiment)
    watched = Watched(store)
    second = made(watched, experiment)
    assert (first.fitted, second.fitted) == (True, False)
    assert watched.written == []


def test_a_judge_that_ends_before_any_write_leaves_what_the_next_one_completes() -> None:
    experiment, fitted = with_members()
    whole = Watched(memory_store())
    copy(fitted, whole)
    prepared = len(whole.written)
    made(whole, experiment)
    own = whole.written[prepared:]
    assert len(own) == 5
    for ended_before in own:
        store = memory_store()
        copy(fitted, store)
        with pytest.raises(Interrupted):
            made(Watched(store, partial(_end_before, ended_before)), experiment)
        made(store, experiment)
        assert contents(store) == contents(whole)


def _end_before(wanted: str, key: str) -> None:
    if key == wanted:
        raise Interrupted("ended here")


def test_a_failed_member_gives_another_ensemble_and_never_fixes_the_whole_one() -> None:
    experiment, store = ensemble_experiment()
    for name in ("last", "ridge"):
        fit(store, experiment, name)
    put_claim(store, experiment)
    put_failure(store, experiment, "season")
    part = made(store, experiment, members_of(store, experiment, 1))
    fit(store, experiment, "season")
    whole = made(store, experiment)
    assert part.model_hash != whole.model_hash
    assert part.chosen["weights"] == {"last": 1, "ridge": 1}
    assert whole.chosen["weights"] == dict.fromkeys(MEMBERS, 1)
    declared = experiment.identity.model_hashes[ENSEMBLE]
    assert declared not in {part.model_hash, whole.model_hash}


def test_the_hash_names_bundles_and_validation_forecasts() -> None:
    experiment, store = with_members()
    first, *others = members_of(store, experiment)
    hashes = {ensemble_hash(experiment.identity, [first, *others])}
    for field in ("model_hash", "bundle_sha256", "validation_sha256"):
        changed = type(first)(**{**vars(first), field: "0" * 64})
        hashes.add(ensemble_hash(experiment.identity, [changed, *others]))
    assert len(hashes) == 4


def test_fewer_than_two_members_are_not_applicable() -> None:
    experiment, store = ensemble_experiment(("last", "ridge"))
    fit(store, experiment, "ridge")
    put_claim(store, experiment)
    put_failure(store, experiment, "last")
    members = members_of(store, experiment, 1)
    assert ensemble_hash(experiment.identity, members) == experiment.identity.model_hashes[ENSEMBLE]
    with pytest.raises(NotApplicable, match="needs 2 models with a result, has 1"):
        made(store, experiment, members)


def test_it_is_gathered_once_it_is_made_with_the_size_of_all_that_it_needs() -> None:
    experiment, store = with_members()
    assert gather(store, experiment, "global") == Waiting(list(MEMBERS), [ENSEMBLE])
    trained = made(store, experiment)
    by_name = {candidate.name: candidate for candidate in gathered(store, experiment)}
    assert list(by_name) == sorted(by_name)
    ensemble = by_name.pop(ENSEMBLE)
    assert ensemble.model_hash == trained.model_hash
    own = len(store.get(layout.bundle(trained.bundle_sha256, MANIFEST)) or b"")
    assert ensemble.bundle_bytes == own + sum(member.bundle_bytes or 0 for member in by_name.values())
    assert ensemble.latency_ms is None


def test_its_latency_is_the_sum_over_its_members() -> None:
    experiment, store = with_members(evaluate={"max_latency_ms": 1e6})
    made(store, experiment)
    by_name = {candidate.name: candidate for candidate in gathered(store, experiment)}
    ensemble = by_name.pop(ENSEMBLE)
    assert ensemble.latency_ms == pytest.approx(sum(member.latency_ms or 0.0 for member in by_name.values()))
    assert not store.exists(layout.latency(ensemble.model_hash))


def test_a_damaged_table_of_a_member_is_named() -> None:
    experiment, store = with_members()
    key = layout.validation(experiment.identity.model_hashes["ridge"])
    store.replace(key, b"PAR1 no table")
    with raises(DamagedObject, code="digest-differs", key=key):
        made(store, experiment)
