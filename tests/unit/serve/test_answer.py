"""A history as a person has it, checked against the manifest and answered by the bundle."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import HOUR, hourly, split, table
from tests.support.stored import experiment_on, fit

from flts.contracts.errors import DataError, UsageError
from flts.forecasting.bundle import Bundle, load_bundle
from flts.preprocess.rows import Rows
from flts.serve.answer import answer, read_history

ROWS = hourly(300)
LAST = ROWS[:270]
"""A history that ends thirty rows into the test."""


def bundle_of(rows: Rows = ROWS, **tables: Any) -> Bundle:
    """Ridge, fitted on all but the last 60 rows."""
    experiment, store = small_experiment(small_spec(**tables), rows)
    return load_bundle(store, fit(store, experiment).bundle_sha256)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundle_of()


def test_the_answer_is_what_the_bundle_was_judged_by() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    stored = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    bundle = load_bundle(store, trained.bundle_sha256)
    rows = experiment.dataset.train.then(experiment.dataset.test)
    for position, origin in enumerate(experiment.windows.indices + len(experiment.dataset.train)):
        found = answer(bundle, table(rows[:origin]))
        for name, value in (("y_hat", found.mean), ("lower", found.lower), ("upper", found.upper)):
            assert value == pytest.approx(stored[name][position], abs=1e-6 * 28.5)


def test_forecasts_start_one_step_after_the_end_of_the_history(bundle: Bundle) -> None:
    found = answer(bundle, table(LAST))
    assert found.times.tolist() == [int(LAST.times[-1]) + HOUR * step for step in (1, 2, 3)]
    assert found.targets == ("load",)
    assert found.mean.shape == found.lower.shape == found.upper.shape == (3, 1)
    assert (found.lower < found.mean).all()
    assert (found.mean < found.upper).all()


def same(bundle: Bundle, history: Any) -> None:
    """Assert that a history gives the answer of the plain one, bit for bit."""
    assert answer(bundle, history).frame().equals(answer(bundle, table(LAST)).frame())


@pytest.mark.parametrize(
    "given",
    [
        lambda t: t.select("wind", "load", "time"),
        lambda t: t.with_columns(sun=pl.lit(1.0), note=pl.lit("x"), flag=pl.lit(True)),
        lambda t: t.tail(12),
        lambda t: t.tail(13),
        lambda t: t.sample(fraction=1.0, shuffle=True, seed=1),
        lambda t: t.with_columns(pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S")),
        lambda t: t.with_columns(pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")),
        lambda t: t.with_columns(pl.col("time").dt.cast_time_unit("ms")),
        lambda t: t.to_pandas(),
        lambda t: t.to_pandas().set_index("time"),
        lambda t: t.to_arrow(),
        lambda t: t.to_dict(as_series=False),
        lambda t: pl.concat([t.head(100), t.tail(12)]),
    ],
    ids=[
        "another order of columns",
        "more columns",
        "no more rows than needed",
        "one row more",
        "shuffled rows",
        "times as text",
        "times in another zone",
        "times in milliseconds",
        "pandas",
        "pandas with the time as index",
        "Arrow",
        "a dictionary of lists",
        "a gap before the rows that count",
    ],
)
def test_the_form_of_a_history_does_not_change_the_answer(bundle: Bundle, given: Callable[[pl.DataFrame], Any]) -> None:
    same(bundle, given(table(LAST)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda t: t.drop("wind"), "history: lacks the numeric columns wind; the model needs load, wind"),
        (lambda t: t.select("time"), "history: lacks the numeric columns load, wind; the model needs load, wind"),
        (lambda t: t.with_columns(wind=pl.lit("much")), "history: lacks the numeric columns wind"),
        (lambda t: t.drop("time"), "history: has no time column 'time'"),
        (lambda t: t.tail(11), "history: has 11 rows, the model needs at least 12"),
        (lambda t: t.clear(), "history: has no rows"),
        (lambda t: t.vstack(t.tail(1)), "history: 1 rows repeat the time of another row"),
        (lambda t: t.with_columns(load=pl.lit(float("inf"))), "column 'load' holds an infinite value"),
        (lambda t: 42, "history: a int cannot be read as a table"),
        (lambda t: {"time": [1, 2], "load": [1.0]}, "history: a dict cannot be read as a table"),
        (lambda t: t.with_columns(time=pl.int_range(t.height)), "column 'time' holds Int64; write times as ISO 8601"),
    ],
)
def test_a_history_that_does_not_fit_is_refused_by_what_is_wrong_with_it(
    bundle: Bundle, given: Callable[[pl.DataFrame], Any], said: str
) -> None:
    with pytest.raises(DataError) as caught:
        answer(bundle, given(table(LAST)))
    assert said in str(caught.value)


def test_a_gap_among_the_rows_that_count_is_named_with_its_place_and_size(bundle: Bundle) -> None:
    history = table(LAST)
    with pytest.raises(DataError) as caught:
        answer(bundle, pl.concat([history.head(260), history.tail(8)]))
    before = np.datetime64(int(LAST.times[259]), "ns").astype("datetime64[s]")
    assert f"the row after {before} (UTC) follows by 3h, the model's rows are 1h apart" in str(caught.value)


def test_a_history_of_another_step_is_refused(bundle: Bundle) -> None:
    slower = table(LAST).gather_every(2)
    with pytest.raises(DataError, match="follows by 2h, the model's rows are 1h apart"):
        answer(bundle, slower)


def test_empty_cells_are_kept_empty_for_the_one_function_that_fills_them(bundle: Bundle) -> None:
    holes = LAST.values.copy()
    holes[-3:, 1] = holes[-5, 0] = np.nan
    given = Rows(LAST.times, holes, LAST.columns)
    rows = read_history(bundle, table(given))
    assert np.array_equal(rows.values, holes[-12:], equal_nan=True)
    filled = holes.copy()
    filled[-3:, 1], filled[-5, 0] = filled[-4, 1], filled[-6, 0]
    expected = answer(bundle, table(Rows(LAST.times, filled, LAST.columns)))
    assert answer(bundle, table(given)).mean.tolist() == expected.mean.tolist()


def test_a_column_without_any_value_is_a_column_of_empty_cells(bundle: Bundle) -> None:
    found = answer(bundle, table(LAST).with_columns(wind=pl.lit(None)))
    assert np.isfinite(found.mean).all()


@pytest.mark.parametrize("level", [0.79, 0.0, 1.0, 80.0, float("nan"), -0.8])
def test_a_level_without_offsets_is_refused_with_the_ones_that_are_offered(bundle: Bundle, level: float) -> None:
    with pytest.raises(UsageError, match=r"is not offered; valid: 0\.5, 0\.8, 0\.9, 0\.95"):
        answer(bundle, table(LAST), level)


def test_a_higher_level_has_wider_bounds_around_the_same_mean(bundle: Bundle) -> None:
    answers = [answer(bundle, table(LAST), level) for level in (0.5, 0.8, 0.9, 0.95)]
    for narrow, wide in itertools.pairwise(answers):
        assert (wide.lower < narrow.lower).all()
        assert (wide.upper > narrow.upper).all()
        assert wide.mean.tolist() == narrow.mean.tolist()


def test_without_enough_validation_windows_the_bounds_are_null_and_the_manifest_says_why() -> None:
    few = bundle_of(hourly(140))
    found = answer(few, table(hourly(140)))
    assert few.manifest.intervals.model_dump() == {"offsets": None, "reason": "fewer than 20 validation windows"}
    assert np.isfinite(found.mean).all()
    assert np.isnan(found.lower).all()
    frame = found.frame()
    assert frame["lower"].null_count() == frame["upper"].null_count() == 3
    assert frame["mean"].null_count() == 0


def test_the_answer_as_a_table_has_one_row_per_step_and_target() -> None:
    two = bundle_of(dataset={"targets": ["wind", "load"]})
    found = answer(two, table(LAST))
    frame = found.frame()
    assert frame.columns == ["time", "target", "mean", "lower", "upper"]
    assert frame["target"].to_list() == ["wind", "load"] * 3
    assert frame["time"].dtype == pl.Datetime("ns", "UTC")
    assert frame["time"].to_physical().to_list() == [int(t) for t in found.times for _ in range(2)]
    assert frame["mean"].to_list() == found.mean.ravel().tolist()


def test_a_history_may_name_its_time_as_training_did_or_time() -> None:
    train, test = (part.rename({"time": "when"}) for part in split(ROWS, 60))
    experiment, store = experiment_on(small_spec(dataset={"time_column": "when"}), train, test)
    bundle = load_bundle(store, fit(store, experiment).bundle_sha256)
    assert bundle.manifest.time_column == "when"
    one, two = answer(bundle, table(LAST, "when")).frame(), answer(bundle, table(LAST, "time")).frame()
    assert one.equals(two)
    both = table(LAST, "when").with_columns(time=pl.lit("not a time"))
    assert answer(bundle, both).frame().equals(one)
    with pytest.raises(DataError, match="has no time column 'time'"):
        answer(bundle, table(LAST, "moment"))


def test_naive_times_are_read_in_the_zone_of_the_training_data() -> None:
    zone = "America/New_York"
    shift = timedelta(hours=-5)
    train, test = (part.with_columns(pl.col("time") + shift) for part in split(ROWS, 60))
    experiment, store = experiment_on(small_spec(dataset={"timezone": zone}), train, test)
    assert experiment.dataset.train.times[0] == ROWS.times[0]
    bundle = load_bundle(store, fit(store, experiment).bundle_sha256)
    local = answer(bundle, table(LAST).with_columns(pl.col("time") + shift))
    zoned = answer(bundle, table(LAST).with_columns(pl.col("time").dt.replace_time_zone("UTC")))
    assert local.times[0] == LAST.times[-1] + HOUR
    assert local.frame().equals(zoned.frame())


def test_a_model_with_lags_wants_more_rows_than_it_needs() -> None:
    lagged = bundle_of(preprocess={"lags": [24]})
    assert (lagged.manifest.history_rows, lagged.manifest.min_history_rows) == (36, 12)
    assert len(read_history(lagged, table(LAST))) == 36
    assert len(read_history(lagged, table(LAST[-20:]))) == 20
    assert np.isfinite(answer(lagged, table(LAST[-12:])).mean).all()
    with pytest.raises(DataError, match="has 11 rows, the model needs at least 12"):
        answer(lagged, table(LAST[-11:]))


def test_rows_older_than_the_window_may_have_gaps_as_they_may_in_the_test_windows() -> None:
    pytest.importorskip("statsforecast")
    rows = hourly(300)
    experiment, store = small_experiment(small_spec(("automfles",)), rows)
    bundle = load_bundle(store, fit(store, experiment, "automfles").bundle_sha256)
    assert bundle.manifest.history_rows > 12
    older = table(LAST).with_row_index("row").filter(pl.col("row") != 250).drop("row")
    assert np.isfinite(answer(bundle, older).mean).all()
    newer = table(LAST).with_row_index("row").filter(pl.col("row") != 262).drop("row")
    with pytest.raises(DataError, match="follows by 2h"):
        answer(bundle, newer)
