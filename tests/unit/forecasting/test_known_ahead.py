"""Columns that are known ahead: what a model sees of the rows to forecast, and that it is served as it was judged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from _pytest.mark import ParameterSet
from tests.support.ahead import TEST, fitted, of_model, priced
from tests.support.distributions import site  # noqa: F401 - a fixture
from tests.support.ensembles import made as made_of_members
from tests.support.ensembles import repeating  # noqa: F401 - a fixture
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import installed
from tests.support.raising import raises
from tests.support.series import table
from tests.support.stored import gathered

from flts.contracts import layout
from flts.contracts.errors import DataError, SpecError
from flts.contracts.records.base import read_record
from flts.contracts.records.model import ModelResult
from flts.forecasting.bundle import load_bundle
from flts.forecasting.histories import Histories
from flts.preprocess.known import holidays_of
from flts.preprocess.rows import Rows, Values
from flts.promotion.judge import judge
from flts.promotion.words import notes
from flts.serve.answer import answer
from flts.serve.batch import forecast_batch
from flts.spec.models import ENSEMBLE
from flts.train.experiment import Experiment

HORIZON, PRICE = 3, 2
LAST_DIGITS = {"ridge": 1e-9, "gru": 1e-4}
"""A product of matrices may differ in its last digits between one window and many; a network has single precision."""


def slow(*names: str) -> list[ParameterSet]:
    """These models as parameters of a test that fits them."""
    return [pytest.param(*one.values, marks=[*one.marks, pytest.mark.slow]) for one in installed(names)]


LOOK_AHEAD = [*installed(("ridge", "gbm")), *slow("prophet", "gru", "lstm")]
SERVED = ["ridge", *slow("gru")]


def assert_same(found: Values, expected: Values, name: str = "ridge") -> None:
    """Two forecasts of one model on the same rows."""
    digits = LAST_DIGITS[name]
    np.testing.assert_allclose(found, expected, rtol=digits, atol=digits)


def rmse(experiment: Experiment, forecast: Values) -> float:
    truth = experiment.windows.truth(experiment.dataset, HORIZON).values
    return float(np.sqrt(np.nanmean((forecast - truth) ** 2)))


def disturbed(experiment: Experiment, changed: Values) -> Histories:
    """The histories of the test windows when the test rows have these values."""
    rows = replace(experiment.dataset.test, values=changed)
    return experiment.windows.histories(replace(experiment.dataset, test=rows))


@pytest.mark.parametrize("name", LOOK_AHEAD)
def test_a_model_gains_by_what_is_known_ahead(name: str) -> None:
    errors = {}
    for known in (True, False):
        experiment, store = fitted((name,), known=known)
        _, trained = of_model(experiment, store, name)
        judged = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
        errors[known] = rmse(experiment, judged["y_hat"])
    assert errors[True] < 0.6 * errors[False]


@pytest.mark.parametrize("name", LOOK_AHEAD)
def test_no_other_cell_at_or_after_an_origin_changes_a_forecast(name: str) -> None:
    experiment, store = fitted((name,))
    bundle, _ = of_model(experiment, store, name)
    before = bundle.forecast(experiment.windows.histories(experiment.dataset))
    for position in (0, 17, len(experiment.windows.indices) - 1):
        origin = int(experiment.windows.indices[position])
        values = experiment.dataset.test.values.copy()
        kept = values[origin : origin + HORIZON, PRICE].copy()
        values[origin:] = np.random.default_rng(3).normal(0.0, 1e4, values[origin:].shape)
        values[origin:][::2, :] = np.nan
        values[origin : origin + HORIZON, PRICE] = kept
        after = bundle.forecast(disturbed(experiment, values))
        np.testing.assert_array_equal(after.mean[position], before.mean[position])
        for level in (0.5, 0.8):
            for one, other in zip(after.interval(level), before.interval(level), strict=True):
                np.testing.assert_array_equal(one[position], other[position])
        values[origin + HORIZON - 1, PRICE] = -np.sign(kept[-1]) * 8.0
        assert not np.array_equal(bundle.forecast(disturbed(experiment, values)).mean[position], before.mean[position])


def later_rows(experiment: Experiment) -> Rows:
    return experiment.dataset.train.then(experiment.dataset.test)


@pytest.mark.parametrize("way", ["own table", "same table", "columns in another order, and more rows"])
@pytest.mark.parametrize("name", SERVED)
def test_a_request_gets_the_forecast_and_the_interval_that_were_judged(name: str, way: str) -> None:
    experiment, store = fitted((name,))
    bundle, trained = of_model(experiment, store, name)
    bundle.self_test()
    judged = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    whole = table(later_rows(experiment))
    for position in (0, 40, len(experiment.windows.indices) - 1):
        end = len(experiment.dataset.train) + int(experiment.windows.indices[position])
        history, future = whole[:end], whole[end : end + HORIZON].select("time", "price")
        if way == "same table":
            history, later = pl.concat([history, future], how="diagonal"), None
        elif way == "own table":
            later = future
        else:
            later = whole[end - 5 : end + HORIZON + 2].select("price", "wind", "time")
        made = answer(bundle, history, future=later)
        assert_same(made.mean, judged["y_hat"][position], name)
        assert_same(made.lower, judged["lower"][position], name)
        assert made.times[0] == experiment.dataset.test.times[experiment.windows.indices[position]]


@pytest.mark.parametrize("name", SERVED)
def test_requests_that_are_answered_together_each_know_their_own_future(name: str) -> None:
    experiment, store = fitted((name,))
    bundle, _ = of_model(experiment, store, name)
    rows = later_rows(experiment)
    asked = [replace(rows[:end], ahead=rows[end : end + HORIZON]) for end in (350, 360, 380)]
    alone = np.concatenate([bundle.forecast_each([one]).mean for one in asked])
    assert_same(bundle.forecast_each(asked).mean, alone, name)
    other = [asked[0], replace(asked[1], ahead=asked[0].ahead), asked[2]]
    moved = ~np.isclose(bundle.forecast_each(other).mean, alone, rtol=LAST_DIGITS[name]).all(axis=(1, 2))
    assert moved.tolist() == [False, True, False]


def test_what_is_absent_is_named_with_its_first_row() -> None:
    experiment, store = fitted()
    bundle, _ = of_model(experiment, store)
    whole = table(later_rows(experiment))
    history, future = whole[:360], whole[360:363].select("time", "price")
    with raises(DataError, code="future-absent", column="price", step=3, file="future"):
        answer(bundle, history, future=future[:2])
    with raises(DataError, code="future-absent", column="price", step=2):
        answer(bundle, history, future=future.with_columns(price=pl.Series([1.0, None, 2.0])))
    with raises(DataError, code="future-absent", column="price", step=1, file="history"):
        answer(bundle, history)
    with raises(DataError, code="columns-missing"):
        answer(bundle, history, future=future.rename({"price": "prize"}))


@pytest.mark.parametrize("name", SERVED)
def test_a_history_needs_the_targets_and_what_is_known_ahead(name: str) -> None:
    experiment, store = fitted((name,))
    bundle, _ = of_model(experiment, store, name)
    whole = table(later_rows(experiment))
    history, future = whole[:360], whole[360:363].select("time", "price")
    assert bundle.needed == ("load", "price")
    made = answer(bundle, history.drop("wind"), future=future)
    np.testing.assert_array_equal(made.mean, answer(bundle, history, future=future).mean)
    with raises(DataError, code="columns-missing"):
        answer(bundle, history.drop("price"), future=future)


@pytest.mark.parametrize("rule", ["sum", "last"])
def test_a_step_in_which_the_targets_end_too_early_is_the_first_to_forecast(rule: str) -> None:
    """Else the sum of half an hour would be taken for that of an hour, because rows of the future follow it."""
    halves = priced(800)
    halves = replace(halves, times=halves.times[0] + np.arange(len(halves)) * np.int64(1_800_000_000_000))
    dataset = {"targets": ["load"], "known_future": ["price"], "step": "1h"}
    experiment, store = small_experiment(small_spec(dataset=dataset, preprocess={"resample": rule}), halves, 160)
    bundle, _ = of_model(experiment, store)
    whole, end = table(halves), 700
    nothing = pl.lit(None, dtype=pl.Float64)

    def told_until(row: int) -> pl.DataFrame:
        return pl.concat([whole[:row], whole[row : end + 2 * HORIZON].with_columns(load=nothing, wind=nothing)])

    expected = answer(bundle, whole[:end], future=whole[end : end + 2 * HORIZON])
    for row, codes in ((end, []), (end + 1, ["step-not-over"])):
        made = answer(bundle, told_until(row))
        np.testing.assert_array_equal(made.times, expected.times)
        np.testing.assert_array_equal(made.mean, expected.mean)
        assert [notice.code for notice in made.warnings] == codes


def test_a_model_that_needs_no_future_says_that_it_is_not_read() -> None:
    experiment, store = fitted(known=False)
    bundle, _ = of_model(experiment, store)
    whole = table(later_rows(experiment))
    made = answer(bundle, whole[:360], future=whole[360:363])
    assert [notice.code for notice in made.warnings] == ["future-unused"]
    np.testing.assert_array_equal(made.mean, answer(bundle, whole[:360]).mean)


@pytest.mark.parametrize("name", SERVED)
def test_a_batch_starts_where_the_rows_to_forecast_are_known(name: str) -> None:
    experiment, store = fitted((name,))
    bundle, trained = of_model(experiment, store, name)
    rows = later_rows(experiment)
    batch = forecast_batch(bundle, rows)
    assert batch.origins[-1] == rows.times[-1 - HORIZON]
    judged = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)["y_hat"]
    assert_same(batch.mean[-len(judged) :], judged, name)
    rows.values[-30, PRICE] = np.nan
    fewer = forecast_batch(bundle, rows)
    assert len(batch.origins) - len(fewer.origins) == HORIZON
    rows.values[-30, PRICE] = 0.0


def test_holidays_need_no_table_and_stay_as_they_were_known() -> None:
    pytest.importorskip("holidays")
    experiment, store = fitted(place="ES")
    bundle, trained = of_model(experiment, store)
    held = bundle.manifest.known_future
    assert held is not None
    assert held.holidays is not None
    assert (held.given, held.holidays.first_year, held.holidays.last_year) == (["price"], 2018, 2038)
    assert "2018-12-25" in held.holidays.dates
    assert trained.model_hash != of_model(*fitted())[1].model_hash
    bundle.self_test()
    result = read_record(store, layout.model_result(trained.model_hash), ModelResult)
    assert result is not None
    assert "holidays" in result.made_on.libraries


def test_an_unknown_place_is_named() -> None:
    pytest.importorskip("holidays")
    for place in ("XX", "ES-XX"):
        with raises(SpecError, code="holidays-unknown", found=place):
            holidays_of(place, 2018, 2019)


def test_a_holiday_counts_in_the_step_that_it_begins_in() -> None:
    pytest.importorskip("holidays")
    experiment, _ = fitted()
    found = holidays_of("ES", 2018, 2018)
    day = int(np.datetime64("2018-12-25", "ns").astype(np.int64))
    hours = day + 3_600 * 10**9 * np.array([-1, 0, 23, 24])
    assert found.count(hours, experiment.dataset.fitted.grid).tolist() == [0.0, 1.0, 1.0, 0.0]


def test_the_windows_and_the_models_that_do_not_look_ahead_keep_their_hashes() -> None:
    with_known, without = fitted()[0].identity, fitted(known=False)[0].identity
    assert with_known.windows_hash == without.windows_hash
    assert with_known.data_hash == without.data_hash
    assert with_known.model_hashes["ridge"] != without.model_hashes["ridge"]


@pytest.mark.usefixtures("repeating")
def test_columns_that_no_model_looks_at_are_not_part_of_the_experiment() -> None:
    dataset = {"targets": ["load"], "known_future": ["price"], "holidays": "ES"}
    ignored, plain = (
        small_experiment(small_spec(("last",), dataset=values), priced(), TEST)[0]
        for values in (dataset, {"targets": ["load"]})
    )
    assert ignored.identity == plain.identity
    assert ignored.spec == plain.spec


@pytest.mark.usefixtures("repeating")
def test_the_board_says_with_which_values_models_were_judged_and_which_saw_none() -> None:
    """The two fitted models and their ensemble, whose bundle asks for the columns of its members."""
    experiment, store = fitted(("last", "ridge", ENSEMBLE))
    made = made_of_members(store, experiment)
    bundle = load_bundle(store, made.bundle_sha256)
    bundle.self_test()
    assert bundle.given == ("price",)
    record = judge(store, experiment, gathered(store, experiment), "global", []).record
    assert {row.model: row.known_future.measured for row in record.ranked if row.known_future is not None} == {
        "ensemble": ["price"],
        "ridge": ["price"],
        "last": [],
    }
    said = [note.text for note in notes(record)]
    assert any("judged with measured values of price" in text for text in said)
    assert "last: ignores what is known of the rows to forecast" in said
    whole = table(later_rows(experiment))
    end = len(experiment.dataset.train) + int(experiment.windows.indices[5])
    answered = answer(bundle, whole[:end], future=whole[end : end + HORIZON].select("time", "price"))
    judged = experiment.forecasts(store, made.model_hash, made.forecasts_sha256)
    assert_same(answered.mean, judged["y_hat"][5])
    assert_same(answered.upper, judged["upper"][5])


@pytest.mark.parametrize("name", slow("gru"))
def test_an_ensemble_with_a_network_is_served_as_it_was_judged(name: str) -> None:
    experiment, store = fitted((name, "ridge", ENSEMBLE))
    made = made_of_members(store, experiment)
    bundle = load_bundle(store, made.bundle_sha256)
    bundle.self_test()
    assert {of.manifest.model for _, of in bundle.members} == {name, "ridge"}
    whole = table(later_rows(experiment))
    end = len(experiment.dataset.train) + int(experiment.windows.indices[5])
    answered = answer(bundle, whole[:end], future=whole[end : end + HORIZON].select("time", "price"))
    judged = experiment.forecasts(store, made.model_hash, made.forecasts_sha256)
    assert_same(answered.mean, judged["y_hat"][5], name)
    assert_same(answered.upper, judged["upper"][5], name)
