"""Which results count, what the challengers are compared with, and what a decision stores."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.judging import known
from tests.support.raising import raises
from tests.support.series import HOUR, START, hourly
from tests.support.stored import (
    chain,
    contents,
    copy,
    fit,
    gathered,
    grow,
    promoted,
    put_claim,
    put_failure,
    put_forecasts,
    put_model,
    put_result,
    truth,
    without,
)

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.decision import AbsentBaseline, ChampionName, DecisionRecord, Look, WindowsSummary
from flts.contracts.records.log import LogEntry, Promoted
from flts.contracts.records.model import Latency
from flts.contracts.runs import newest
from flts.evaluate.case import Candidate
from flts.evaluate.look import level_of
from flts.forecasting.adaptive import earlier_origins, reach
from flts.forecasting.answers import Answers
from flts.forecasting.bundle import MANIFEST, Bundle, load_bundle, read_bundle
from flts.forecasting.histories import Histories
from flts.preprocess.rows import Rows
from flts.promotion import judge as judging
from flts.promotion.judge import Waiting, baselines, gather, judge, reference_of
from flts.promotion.latency import LATENCY_REPEATS
from flts.promotion.log import EMPTY, next_entry
from flts.promotion.stage import promoted_of
from flts.train.experiment import Experiment

GRU_TOO = small_spec(("ridge", "gru"))


def entry_of(champion: Promoted, decision_id: str = digest("decision")) -> LogEntry:
    """The first entry of a log."""
    return next_entry(EMPTY, "global", "promote", champion, decision_id, "tests", "2026-01-02T03:04:05+00:00")


def with_champion() -> tuple[Experiment, Store, LogEntry]:
    """An experiment whose ridge was fitted and judged, and the entry that makes it champion."""
    experiment, store = small_experiment()
    fit(store, experiment)
    candidates = gathered(store, experiment)
    decision = judge(store, experiment, candidates, "global", ())
    champion = promoted_of(decision.record, "ridge", experiment.identity.data_hash, None)
    return experiment, store, entry_of(champion, decision.decision_id)


def judged_later(rows: Rows, **tables: Any) -> tuple[Experiment, DecisionRecord, Store]:
    """The record of another experiment decided against that champion."""
    _, store, champion = with_champion()
    experiment, fresh = small_experiment(small_spec(("ridge",), **tables), rows)
    copy(fresh, store)
    fit(store, experiment)
    candidates = gathered(store, experiment)
    return experiment, judge(store, experiment, candidates, "global", [champion]).record, store


# gather


def test_a_success_needs_the_models_result_and_the_windows_result() -> None:
    experiment, store = small_experiment()
    assert gather(store, experiment, "global") == Waiting([], ["ridge"])
    trained = fit(store, experiment)
    model_hash, windows_hash = trained.model_hash, experiment.identity.windows_hash
    for key in (layout.model_result(model_hash), layout.windows_result(model_hash, windows_hash)):
        assert gather(without(store, key), experiment, "global") == Waiting([], ["ridge"])
    (candidate,) = gathered(store, experiment)
    assert (candidate.status, candidate.reason) == ("SUCCESS", None)
    assert candidate.bundle_sha256 == trained.bundle_sha256
    assert candidate.forecasts_sha256 == trained.forecasts_sha256


def test_the_forecasts_of_a_candidate_are_the_stored_ones() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    (candidate,) = gathered(store, experiment)
    bundle = load_bundle(store, str(candidate.bundle_sha256))
    expected = bundle.model.forecast_all(experiment.windows.histories(experiment.dataset)).mean
    assert candidate.forecast is not None
    assert candidate.forecast.tolist() == expected.tolist()


def test_models_with_a_result_and_models_without_one_are_named() -> None:
    experiment, store = small_experiment(GRU_TOO)
    fit(store, experiment)
    assert gather(store, experiment, "global") == Waiting(["ridge"], ["gru"])


def test_a_failure_counts_with_its_class_and_reason() -> None:
    experiment, store = small_experiment(GRU_TOO)
    fit(store, experiment)
    put_claim(store, experiment)
    put_failure(store, experiment, "gru", reason="the loss is not finite")
    candidates = gathered(store, experiment)
    assert [(c.name, c.status, c.reason) for c in candidates] == [
        ("gru", "FAILED", "TrainingFailed: the loss is not finite"),
        ("ridge", "SUCCESS", None),
    ]


def test_a_model_that_does_not_apply_is_not_called_failed() -> None:
    experiment, store = small_experiment()
    put_claim(store, experiment)
    put_failure(store, experiment, "ridge", error="NotApplicable", reason="needs 48 rows, has 12")
    candidates = gathered(store, experiment)
    assert (candidates[0].status, candidates[0].reason) == ("N/A", "NotApplicable: needs 48 rows, has 12")


def test_a_failure_of_an_older_run_does_not_count_while_the_newer_run_is_retrying() -> None:
    experiment, store = small_experiment()
    put_claim(store, experiment, 1)
    put_failure(store, experiment, "ridge", 1)
    assert isinstance(gather(store, experiment, "global"), list)
    put_claim(store, experiment, 2)
    assert gather(store, experiment, "global") == Waiting([], ["ridge"])
    put_failure(store, experiment, "ridge", 2, reason="again")
    candidates = gathered(store, experiment)
    assert candidates[0].reason == "TrainingFailed: again"


def test_a_failure_counts_only_in_the_scope_of_its_run() -> None:
    experiment, store = small_experiment()
    put_claim(store, experiment, 1, "north")
    put_claim(store, experiment, 2, "south")
    put_failure(store, experiment, "ridge", 1)
    assert isinstance(gather(store, experiment, "north"), list)
    assert gather(store, experiment, "south") == Waiting([], ["ridge"])
    assert gather(store, experiment, "global") == Waiting([], ["ridge"])


@pytest.mark.parametrize("scope", ["global", "another"])
def test_a_result_counts_whatever_run_it_is_from_and_over_a_failure_of_the_newest(scope: str) -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    put_claim(store, experiment)
    put_failure(store, experiment, "ridge")
    assert [candidate.status for candidate in gathered(store, experiment, scope)] == ["SUCCESS"]


def test_the_newest_run_is_the_one_with_the_highest_number_in_its_scope() -> None:
    experiment, store = small_experiment()
    config_hash = experiment.identity.config_hash
    assert newest(store, config_hash, "global") is None
    for number, scope in ((1, "global"), (2, "global"), (9, "global"), (10, "global"), (11, "north")):
        put_claim(store, experiment, number, scope)
    assert newest(store, config_hash, "global") == 10
    assert newest(store, config_hash, "north") == 11
    assert newest(store, config_hash, "south") is None


@pytest.mark.parametrize("file", [MANIFEST, "coefficients.safetensors"])
@pytest.mark.parametrize("damage", ["changed", "absent"])
def test_a_bundle_that_differs_from_its_digest_makes_a_failed_candidate(file: str, damage: str) -> None:
    experiment, store = small_experiment()
    key = layout.bundle(fit(store, experiment).bundle_sha256, file)
    if damage == "changed":
        data = store.get(key) or b""
        store.replace(key, data[:-1] + bytes([data[-1] ^ 1]))
    else:
        store = without(store, key)
    candidates = gathered(store, experiment)
    assert (candidates[0].status, candidates[0].forecast) == ("FAILED", None)
    assert str(candidates[0].reason).startswith(f"DamagedObject: {key}")


def test_a_model_whose_result_is_that_of_another_model_is_not_judged_under_its_name() -> None:
    experiment, store = small_experiment(GRU_TOO)
    for number, name in enumerate(experiment.identity.model_hashes):
        put_result(store, experiment, name, digest(name), 1.0 + number)
    wrong, right = (layout.model_result(experiment.identity.model_hashes[name]) for name in ("gru", "ridge"))
    store.replace(wrong, store.get(right) or b"")
    damaged = next(c for c in gathered(store, experiment) if c.name == "gru")
    assert damaged.status == "FAILED"
    assert f"{wrong} in memory:/// holds the record of another key" in str(damaged.reason)


ODD = [b"", b"{", b"null", b"true", b"[" * 100_000, b'{"v": 1}', b'{"v": 1e400}']


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: odd[:8].decode())
@pytest.mark.parametrize("windows", [False, True], ids=["model", "windows"])
def test_a_result_that_is_no_record_makes_a_failed_candidate(odd: bytes, windows: bool) -> None:
    experiment, store = small_experiment()
    model_hash = experiment.identity.model_hashes["ridge"]
    put_result(store, experiment, "ridge", digest("ridge"), 1.0)
    key = (
        layout.windows_result(model_hash, experiment.identity.windows_hash)
        if windows
        else layout.model_result(model_hash)
    )
    store.replace(key, odd)
    (candidate,) = gathered(store, experiment)
    assert candidate.status == "FAILED"
    assert str(candidate.reason).startswith(f"DamagedObject: {key}")


def test_forecasts_that_differ_from_their_digest_make_a_failed_candidate() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    key = layout.forecasts(trained.model_hash, experiment.identity.windows_hash)
    store.replace(key, (store.get(key) or b"") + b"\0")
    candidates = gathered(store, experiment)
    assert candidates[0].status == "FAILED"
    assert str(candidates[0].reason).startswith(f"DamagedObject: {key}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_forecast_that_is_not_finite_makes_a_failed_candidate_even_where_there_is_no_truth(value: float) -> None:
    experiment, store = small_experiment(GRU_TOO)
    bundle = fit(store, experiment).bundle_sha256
    mean = truth(experiment)
    mean[4, 1, 0] = value
    put_model(store, experiment, "gru", bundle)
    put_forecasts(store, experiment, "gru", mean)
    candidates = gathered(store, experiment)
    assert (candidates[0].name, candidates[0].status) == ("gru", "FAILED")
    assert candidates[0].reason == f"1 of {mean.size} stored forecasts are not finite"
    decision = judge(store, experiment, candidates, "global", ())
    assert (decision.outcome, decision.record.winner) == ("promote", "ridge")
    json.loads(decision.record.to_bytes())


def test_forecasts_of_other_windows_make_a_failed_candidate() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    names = trained.model_hash, experiment.identity.windows_hash
    store = without(store, layout.windows_result(*names), layout.forecasts(*names))
    fewer = replace(experiment.windows, indices=experiment.windows.indices[:-1])
    put_forecasts(store, replace(experiment, windows=fewer), "ridge", truth(experiment)[:-1])
    (candidate,) = gathered(store, experiment)
    assert candidate.status == "FAILED"
    assert "do not fit the windows" in str(candidate.reason)


# baselines


def test_the_baselines_repeat_the_last_value_and_the_last_day() -> None:
    experiment, _ = small_experiment()
    rows = experiment.dataset.train.then(experiment.dataset.test).select(("load",))[:, 0]
    naive, seasonal = baselines(experiment)
    assert (naive.name, seasonal.name) == ("naive", "seasonal_naive")
    assert naive.forecast is not None
    assert seasonal.forecast is not None
    start = len(experiment.dataset.train)
    for position, index in enumerate(experiment.windows.indices):
        origin = start + index
        assert naive.forecast[position, :, 0] == pytest.approx([rows[origin - 1]] * 3, rel=1e-12)
        assert seasonal.forecast[position, :, 0] == pytest.approx(rows[origin - 24 : origin - 21], rel=1e-12)


def test_a_baseline_without_a_season_does_not_apply_and_is_on_the_board_with_the_reason() -> None:
    experiment, store = small_experiment(small_spec(task={"seasons": []}))
    fit(store, experiment)
    candidates = gathered(store, experiment)
    rows = judge(store, experiment, candidates, "global", ()).record.baselines
    assert isinstance(rows[-1], AbsentBaseline)
    assert rows[-1].model == "seasonal_naive"
    assert "needs a season" in str(rows[-1].reason)


def test_a_baseline_with_too_little_history_does_not_apply_and_says_how_much_it_needs() -> None:
    rows = hourly(300)
    later = Rows(np.where(np.arange(300) < 240, rows.times, rows.times + 10 * HOUR), rows.values, rows.columns)
    experiment, _ = small_experiment(rows=later)
    _, seasonal = baselines(experiment)
    assert seasonal.forecast is None
    assert seasonal.reason == "needs 24 rows, has 12"


# the champion


def half_hourly(rows: Rows) -> Rows:
    return Rows(START + (rows.times - START) // 2, rows.values, rows.columns)


@pytest.mark.parametrize(
    ("rows", "tables", "why"),
    [
        pytest.param(hourly(400), {"dataset": {"targets": ["wind"]}}, "it forecasts load, not wind", id="targets"),
        pytest.param(
            hourly(400), {"dataset": {"targets": ["load", "wind"]}}, "it forecasts load, not load, wind", id="more"
        ),
        pytest.param(half_hourly(hourly(900)), {}, "its rows are 1h apart, these 30min", id="step"),
        pytest.param(hourly(400), {"task": {"horizon": 6}}, "it forecasts 3 rows ahead, not 6", id="horizon"),
        pytest.param(
            hourly(400, columns=("load",)), {}, "it needs the columns wind, which these rows lack", id="columns"
        ),
        pytest.param(
            hourly(300, start=START - 48 * HOUR),
            {},
            "it was trained on rows from after the start of these windows, so it may have seen their truth",
            id="trained_until",
        ),
    ],
)
def test_a_champion_that_is_not_comparable_stays_and_the_reason_is_named(
    rows: Rows, tables: dict[str, Any], why: str
) -> None:
    _, record, _ = judged_later(rows, **tables)
    assert record.outcome == "keep"
    assert record.winner == "ridge"
    assert record.gates["champion"].numbers == {"not_comparable": why}
    assert why in record.reasons[-1]


@pytest.mark.parametrize(("earlier", "comparable"), [(0, True), (1, False)])
def test_a_champion_may_be_trained_up_to_the_first_origin_but_no_further(earlier: int, comparable: bool) -> None:
    standing, _ = small_experiment()
    experiment, record, _ = judged_later(hourly(300, start=START - earlier * HOUR))
    distance = int(experiment.origins[0]) - int(standing.dataset.train.times[-1])
    assert distance == (0 if comparable else -HOUR)
    assert ("not_comparable" not in record.gates["champion"].numbers) is comparable


@pytest.mark.parametrize(
    ("before", "now", "comparable"),
    [("mean", "sum", False), ("mean", "mean", True), ("off", "mean", True), ("sum", "off", True)],
)
def test_a_champion_of_other_rows_of_a_step_is_not_comparable(before: str, now: str, comparable: bool) -> None:
    champion, store = small_experiment(small_spec(("ridge",), preprocess={"resample": before}))
    manifest, _ = read_bundle(store, fit(store, champion).bundle_sha256)
    later, _ = small_experiment(small_spec(("ridge",), preprocess={"resample": now}), hourly(400))
    assert (judging._not_comparable(manifest, later) is None) is comparable


def test_the_champion_forecasts_the_challengers_windows_with_its_own_bundle_and_that_is_stored_under_its_hash() -> None:
    champion, _, standing = with_champion()
    experiment, record, store = judged_later(hourly(400))
    assert "not_comparable" not in record.gates["champion"].numbers
    model_hash, windows_hash = champion.identity.model_hashes["ridge"], experiment.identity.windows_hash
    assert model_hash not in experiment.identity.model_hashes.values()
    committed = json.loads(store.get(layout.windows_result(model_hash, windows_hash)) or b"")
    assert committed["model_hash"] == model_hash
    forecast = experiment.forecasts(store, model_hash, committed["forecasts_sha256"])["y_hat"]
    bundle = load_bundle(store, standing.champion.bundle_sha256)
    assert (
        forecast.tolist() == bundle.model.forecast_all(experiment.windows.histories(experiment.dataset)).mean.tolist()
    )


def test_the_champions_forecasts_are_made_once_and_read_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, standing = with_champion()
    experiment, record, store = judged_later(hourly(400))
    before = contents(store)
    monkeypatch.setattr(judging, "bundle_forecasts", lambda *given: pytest.fail("forecast a second time"))
    candidates = gathered(store, experiment)
    assert judge(store, experiment, candidates, "global", [standing]).record == record
    assert contents(store) == before


def test_a_champion_gets_its_own_columns_in_its_own_order_from_rows_that_have_more() -> None:
    champion, _ = small_experiment()
    rows = hourly(400)
    more = Rows(
        rows.times, np.column_stack([rows.values[:, 1] * 0 + 7.0, rows.values[:, ::-1]]), ("sun", "wind", "load")
    )
    more.values[::3, 0] = 8.0
    plain, _, first = judged_later(rows)
    wider, _, second = judged_later(more)
    model_hash = champion.identity.model_hashes["ridge"]
    forecasts = []
    for experiment, store in ((plain, first), (wider, second)):
        committed = json.loads(store.get(layout.windows_result(model_hash, experiment.identity.windows_hash)) or b"")
        forecasts.append(experiment.forecasts(store, model_hash, committed["forecasts_sha256"])["y_hat"])
    assert wider.task.fitted.names == ("sun", "wind", "load")
    assert forecasts[0].tolist() == forecasts[1].tolist()


def test_a_champion_without_its_bundle_is_an_error_that_names_the_object_and_no_decision_is_made() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    bundle = digest("no such bundle")
    with raises(DamagedObject, code="object-missing", key=layout.bundle(bundle, MANIFEST)):
        judge(
            store, experiment, gathered(store, experiment), "global", [entry_of(promoted("old", bundle_sha256=bundle))]
        )
    assert not store.list("model-promotion/")


def test_a_champion_is_not_loaded_when_the_gate_passes_every_winner() -> None:
    experiment, store = small_experiment(small_spec(evaluate={"gate": "always"}))
    fit(store, experiment)
    gone = [entry_of(promoted("old", bundle_sha256=digest("no such bundle")))]
    assert judge(store, experiment, gathered(store, experiment), "global", gone).outcome == "promote"


def test_a_champion_that_is_among_the_candidates_is_not_forecast_again(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store, champion = with_champion()
    monkeypatch.setattr(judging, "bundle_forecasts", lambda *given: pytest.fail("forecast a second time"))
    candidates = gathered(store, experiment)
    decision = judge(store, experiment, candidates, "global", [champion])
    assert decision.outcome == "keep"
    assert decision.record.reasons[-1] == "ridge is the champion already"


def test_the_decision_behind_the_champion_says_how_far_the_windows_moved() -> None:
    _, record, store = judged_later(hourly(400))
    (first,) = (
        found
        for key in store.list("model-promotion/global/decisions/")
        if not key.endswith("preview.json") and (found := require_record(store, key, DecisionRecord)).champion is None
    )
    assert first.look is None
    now, chosen = record.windows, first.windows
    assert known(record.look).spans == (now.last - chosen.last) / (now.last - now.first) > 1.0
    assert known(record.look).level == level_of(known(record.look).spans)
    assert known(record.look).against == record.champion


def test_without_the_decision_behind_the_champion_no_decision_is_made() -> None:
    experiment, store, champion = with_champion()
    key = layout.decision("global", champion.decision_id)
    store = without(store, key)
    with raises(DamagedObject, code="object-missing", key=key):
        judge(store, experiment, gathered(store, experiment), "global", [champion])


# the reference of gate = "not-worse"


def logged(store: Store, *decisions: tuple[str, str, str | None]) -> list[LogEntry]:
    """A log with an entry for each model, kind, and gate of its decision, with the decisions."""
    experiment, fitted = small_experiment()
    fit(fitted, experiment)
    plain = judge(fitted, experiment, gathered(fitted, experiment), "global", ()).record
    entries: list[LogEntry] = []
    for model, kind, gate in decisions:
        entry = grow(entries, model, kind)
        rules = plain.rules.model_copy(update={"gate": gate})
        look = None
        if gate == "not-worse" and len(entries) > 1:
            named = reference_of(store, "global", entries[:-1]).champion
            against = ChampionName(model=named.model, model_hash=named.model_hash)
            look = Look(spans=0.0, level=0.025, against=against, margin=0.02, tests={})
        champion = entry.champion
        named_row = {name: getattr(champion, name) for name in ("model", "model_hash", "bundle_sha256", "score")}
        changes = {
            "decision_id": entry.decision_id,
            "config_hash": champion.config_hash,
            "winner": champion.model,
            "candidates": [plain.ranked[0].model_copy(update=named_row)],
            "rules": rules,
            "look": look,
        }
        store.create(layout.decision("global", entry.decision_id), plain.model_copy(update=changes).to_bytes())
    return entries


BEATS, NOT_WORSE, ALWAYS = "beats-champion", "not-worse", "always"


@pytest.mark.parametrize(
    ("decisions", "reference"),
    [
        ([("a", "promote", NOT_WORSE)], "a"),
        ([("a", "promote", BEATS), ("b", "promote", BEATS)], "b"),
        ([("a", "promote", BEATS), ("b", "promote", NOT_WORSE), ("c", "promote", NOT_WORSE)], "a"),
        ([("a", "promote", BEATS), ("b", "promote", ALWAYS)], "a"),
        ([("a", "promote", BEATS), ("b", "promote", ALWAYS), ("c", "promote", NOT_WORSE)], "a"),
        ([("a", "promote", BEATS), ("b", "manual", NOT_WORSE), ("c", "promote", NOT_WORSE)], "b"),
        ([("a", "promote", BEATS), ("b", "promote", BEATS), ("a", "rollback", BEATS)], "a"),
        (
            [("a", "promote", BEATS), ("b", "promote", NOT_WORSE), ("c", "promote", BEATS), ("d", "promote", ALWAYS)],
            "c",
        ),
        ([("a", "promote", ALWAYS), ("b", "promote", ALWAYS)], "a"),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else " ".join(f"{name}-{kind}-{gate}" for name, kind, gate in value)
    ),
)
def test_the_reference_is_the_last_model_that_was_chosen_by_a_win_or_by_a_person(
    decisions: list[tuple[str, str, str | None]], reference: str
) -> None:
    store = memory_store()
    assert reference_of(store, "global", logged(store, *decisions)).champion.model == reference


def test_a_new_fit_is_compared_with_the_reference_and_not_with_a_champion_that_was_only_not_worse() -> None:
    rules = {"gate": "not-worse"}
    subjects = [
        small_experiment(small_spec(train={"validation_fraction": part}, evaluate=rules)) for part in (0.1, 0.2, 0.3)
    ]
    store = memory_store()
    entries: list[LogEntry] = []
    records: list[DecisionRecord] = []
    for (experiment, fresh), error in zip(subjects, (1.0, 1.0, 3.0), strict=True):
        bundle = fit(fresh, experiment).bundle_sha256
        copy(without(fresh, *fresh.list("models/")), store)
        put_result(store, experiment, "ridge", bundle, error, seed=len(entries))
        record = judge(store, experiment, gathered(store, experiment), "global", entries).record
        records.append(record)
        champion = promoted_of(record, "ridge", experiment.identity.data_hash, None)
        entries.append(
            next_entry(
                chain(entries), "global", "promote", champion, record.decision_id, "tests", "2026-01-02T03:04:05+00:00"
            )
        )
    first, second, third = records
    assert (first.look, first.outcome) == (None, "promote")
    assert known(second.look).against.model_hash == entries[0].champion.model_hash
    assert known(third.look).against.model_hash == entries[0].champion.model_hash
    assert known(third.champion).model_hash == entries[1].champion.model_hash
    assert third.outcome == "keep"
    assert "by hand (ridge of promotion 1): " in third.gates["champion"].reason
    assert (known(third.look).margin, third.rules.margin) == (0.02, 0.02)


# what is stored


def judged_once() -> tuple[Experiment, Store, Any]:
    experiment, store = small_experiment()
    fit(store, experiment)
    candidates = gathered(store, experiment, "north")
    return experiment, store, judge(store, experiment, candidates, "north", ())


def test_the_stored_decision_is_the_record_with_the_digest_of_its_preview() -> None:
    _, store, decision = judged_once()
    stored = store.get(layout.decision("north", decision.decision_id))
    assert stored == decision.record.to_bytes()
    preview = store.get(layout.preview("north", decision.decision_id))
    assert preview is not None
    assert decision.record.preview_sha256 == sha256(preview)


def test_the_preview_shows_truth_and_forecast_of_the_winner_at_step_one() -> None:
    experiment, store, decision = judged_once()
    preview = json.loads(store.get(layout.preview("north", decision.decision_id)) or b"")
    values = experiment.forecasts(store, decision.winner.model_hash, decision.winner.forecasts_sha256)
    assert (preview["model"], preview["targets"]) == ("ridge", ["load"])
    assert preview["time"] == [int(t) + HOUR for t in experiment.origins]
    assert preview["truth"] == truth(experiment)[:, 0].tolist()
    for name in ("y_hat", "lower", "upper"):
        assert preview[name] == values[name][:, 0].tolist()


def test_the_preview_has_at_most_the_last_three_hundred_windows_that_were_scored_and_null_for_nan() -> None:
    rows = hourly(900, columns=("load", "wind"))
    rows.values[700, 0] = rows.values[701, :] = np.nan
    spec = small_spec(dataset={"targets": ["load", "wind"]}, evaluate={"windows": 0})
    experiment, store = small_experiment(spec, rows, test=400)
    fit(store, experiment)
    candidates = gathered(store, experiment)
    decision = judge(store, experiment, candidates, "global", ())
    preview = json.loads(store.get(layout.preview("global", decision.decision_id)) or b"")
    assert len(preview["time"]) == len(preview["truth"]) == 300
    at = dict(zip(preview["time"], preview["truth"], strict=True))
    assert int(rows.times[701]) not in at
    assert at[int(rows.times[700])] == [None, rows.values[700, 1]]
    assert preview["time"][-1] == int(rows.times[897])
    assert decision.record.windows.empty_cells == 9


def test_a_stored_decision_is_not_written_again() -> None:
    experiment, store, decision = judged_once()
    before = contents(store)
    candidates = gathered(store, experiment, "north")
    again = judge(store, experiment, candidates, "north", ())
    assert (again.decision_id, again.outcome, again.record) == (decision.decision_id, decision.outcome, decision.record)
    assert contents(store) == before


def test_the_record_says_how_the_windows_were_chosen() -> None:
    experiment, _, decision = judged_once()
    assert decision.record.windows == WindowsSummary(
        windows_hash=experiment.identity.windows_hash,
        count=58,
        first=int(experiment.origins[0]),
        last=int(experiment.origins[-1]),
        spacing=1.0,
        dropped=0,
        empty_cells=0,
    )


def test_without_a_winner_there_is_no_preview() -> None:
    experiment, store = small_experiment()
    failed = Candidate("ridge", experiment.identity.model_hashes["ridge"], "FAILED", "a reason")
    decision = judge(store, experiment, [failed], "global", ())
    assert decision.outcome == "none"
    assert decision.record.preview_sha256 is None
    assert store.get(layout.preview("global", decision.decision_id)) is None
    assert store.get(layout.decision("global", decision.decision_id)) is not None


@pytest.mark.parametrize("better", ["ridge", "gru"])
def test_the_candidate_with_the_smaller_errors_wins_whatever_its_name(better: str) -> None:
    experiment, fitted = small_experiment(GRU_TOO)
    bundle = fit(fitted, experiment).bundle_sha256
    store = without(fitted, *fitted.list("models/"))
    for name in ("ridge", "gru"):
        put_result(store, experiment, name, bundle, 1.0 if name == better else 3.0)
    assert judge(store, experiment, gathered(store, experiment), "global", ()).record.winner == better


def test_latency_is_measured_only_when_a_limit_needs_it_and_the_first_measurement_is_kept() -> None:
    experiment, store = small_experiment()
    fit(store, experiment)
    assert gathered(store, experiment)[0].latency_ms is None
    asking, asked = small_experiment(small_spec(evaluate={"max_latency_ms": 1e6}))
    trained = fit(asked, asking)
    key = layout.latency(trained.model_hash)
    measured = gathered(asked, asking)[0].latency_ms
    assert measured is not None
    assert measured > 0.0
    assert json.loads(asked.get(key) or b"")["latency_ms"] == measured
    asked.replace(key, Latency(model_hash=trained.model_hash, latency_ms=12.5, processor="tests").to_bytes())
    assert gathered(asked, asking)[0].latency_ms == 12.5


def test_the_latency_is_that_of_an_answer_whose_interval_follows_a_whole_history(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking, store = small_experiment(small_spec(evaluate={"max_latency_ms": 1e6}))
    trained = fit(store, asking)
    forecast, measured = Bundle.forecast, []

    def remembering(bundle: Bundle, histories: Histories) -> Answers:
        measured.append((histories, forecast(bundle, histories)))
        return measured[-1][1]

    monkeypatch.setattr(Bundle, "forecast", remembering)
    gathered(store, asking)
    monkeypatch.undo()
    assert len(measured) == LATENCY_REPEATS
    bundle = load_bundle(store, trained.bundle_sha256)
    assert len(asking.dataset.test) < bundle.rows_used, "test alone would not fill the history"
    for histories, answers in measured:
        assert answers.kinds() == ["adaptive"]
        assert len(histories.context) == bundle.rows_used
        earlier = earlier_origins(histories, bundle.model, bundle.manifest.trained_until)
        assert len(earlier) == reach(asking.task.horizon)


def test_a_candidate_brings_its_intervals_and_the_size_of_its_bundle() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    candidate = gathered(store, experiment)[0]
    stored = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    np.testing.assert_array_equal(candidate.bounds["0.8"], (stored["lower"], stored["upper"]))
    assert set(candidate.bounds) == set(candidate.static_bounds) == {"0.5", "0.8", "0.9", "0.95"}
    assert candidate.adaptive == int(stored["adaptive"][:, 0, 0].sum()) > 0
    files = store.list(f"bundles/{trained.bundle_sha256}/")
    assert candidate.bundle_bytes == sum(len(store.get(key) or b"") for key in files)
