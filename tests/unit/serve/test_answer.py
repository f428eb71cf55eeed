"""One request: which histories are accepted, which are refused, and what the answer holds."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import has_libraries
from tests.support.raising import raises
from tests.support.series import HOUR, hourly, split, table
from tests.support.stored import experiment_on, fit

from flts.contracts.errors import DataError, UsageError
from flts.forecasting.bundle import Bundle, load_bundle
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawFile, RawTable
from flts.serve.answer import LONGEST, answer, rows_for, usable_history

ROWS = hourly(300)
LAST = ROWS[:270]
"""A history that ends with the thirtieth test row."""


def bundle_of(rows: Rows = ROWS, **tables: Any) -> Bundle:
    """Ridge, fitted on all but the last 60 rows."""
    experiment, store = small_experiment(small_spec(**tables), rows)
    return load_bundle(store, fit(store, experiment).bundle_sha256)


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return bundle_of()


def test_the_answer_equals_the_forecasts_that_were_judged() -> None:
    experiment, store = small_experiment()
    trained = fit(store, experiment)
    stored = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    bundle = load_bundle(store, trained.bundle_sha256)
    rows = experiment.dataset.train.then(experiment.dataset.test)
    for position, origin in enumerate(experiment.windows.indices + len(experiment.dataset.train)):
        served = answer(bundle, table(rows[:origin]))
        for name, value in (("y_hat", served.mean), ("lower", served.lower), ("upper", served.upper)):
            assert value == pytest.approx(stored[name][position], abs=1e-6 * 28.5)


def test_forecasts_start_one_step_after_the_end_of_the_history(bundle: Bundle) -> None:
    response = answer(bundle, table(LAST))
    assert response.times.tolist() == [int(LAST.times[-1]) + HOUR * step for step in (1, 2, 3)]
    assert response.targets == ("load",)
    assert response.mean.shape == response.lower.shape == response.upper.shape == (3, 1)
    assert (response.lower < response.mean).all()
    assert (response.mean < response.upper).all()


@pytest.mark.parametrize(
    "form",
    [
        lambda t: t.select("wind", "load", "time"),
        lambda t: t.with_columns(sun=pl.lit(1.0), note=pl.lit("x"), flag=pl.lit(True)),
        lambda t: t.tail(12 + 102),
        lambda t: t.tail(12 + 103),
        lambda t: t.sample(fraction=1.0, shuffle=True, seed=1),
        lambda t: t.with_columns(pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%S")),
        lambda t: t.with_columns(pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Tokyo")),
        lambda t: t.with_columns(pl.col("time").dt.cast_time_unit("ms")),
        lambda t: t.to_pandas(),
        lambda t: t.to_pandas().set_index("time"),
        lambda t: t.to_pandas().set_index("time").rename_axis("moment"),
        lambda t: t.to_pandas().set_index("time").rename_axis("moment").assign(seen=pd.Timestamp("2020-01-01")),
        lambda t: t.to_pandas().set_index("time", drop=False),
        lambda t: t.to_pandas().set_index(pd.PeriodIndex(t["time"].to_pandas(), freq="h")).drop(columns="time"),
        lambda t: t.rename({"time": "ds"}),
        lambda t: t.rename({"time": "ds"}).with_columns(pl.col("ds").dt.to_string("%Y-%m-%d %H:%M")),
        lambda t: t.rename({"time": "when"}),
        lambda t: t.to_arrow(),
        lambda t: t.to_dict(as_series=False),
        lambda t: pl.concat([t.head(100), t.tail(12 + 102)]),
        lambda t: t.with_columns(pl.col("time").dt.offset_by("40s")),
    ],
    ids=[
        "another order of columns",
        "more columns",
        "no more rows than needed",
        "one row more",
        "shuffled rows",
        "times as text",
        "times in another time zone",
        "times in milliseconds",
        "pandas",
        "pandas with times as index",
        "an index of any name",
        "an index beside another column of dates",
        "an index that is a column, too",
        "an index of periods",
        "a column ds",
        "a column ds of text",
        "the only column of dates",
        "Arrow",
        "a dictionary of lists",
        "a gap before the rows that are used",
        "times off by seconds",
    ],
)
def test_the_form_of_a_history_does_not_change_the_answer(bundle: Bundle, form: Callable[[pl.DataFrame], Any]) -> None:
    columns = ["time", "target", "mean"]  # bounds may follow older rows too
    given, plain = (answer(bundle, history).frame().select(columns) for history in (form(table(LAST)), table(LAST)))
    assert given.equals(plain)


def test_intervals_are_static_from_the_rows_that_the_model_needs_and_adaptive_from_more(bundle: Bundle) -> None:
    alone, whole = (answer(bundle, table(LAST[-rows:])) for rows in (bundle.manifest.history_rows, bundle.rows_used))
    assert bundle.rows_used == 2 * 24 + 102
    assert (alone.interval, whole.interval) == ("static", "adaptive")
    assert alone.mean.tolist() == whole.mean.tolist()
    offsets = bundle.manifest.intervals.offsets
    assert offsets is not None
    _, width = bundle.model.task.fitted.target_range
    assert bundle.manifest.intervals.scale == "constant"
    np.testing.assert_allclose(alone.upper - alone.mean, np.array(offsets["0.8"]) * width)
    assert (alone.upper != whole.upper).any()


def test_a_column_that_the_model_does_not_use_may_be_absent() -> None:
    noise = np.random.default_rng(5).normal(0.0, 1.0, 300)
    rows = Rows(ROWS.times, np.column_stack([ROWS.values[:, 0], noise]), ROWS.columns)
    bundle = bundle_of(rows)
    assert bundle.needed == ("load",)
    whole, alone = (answer(bundle, history) for history in (table(rows[:270]), table(rows[:270]).drop("wind")))
    assert (alone.interval, alone.warnings) == ("adaptive", ())
    assert alone.frame().equals(whole.frame())
    with raises(DataError, code="columns-missing", columns=["load"], expected=("load",)):
        answer(bundle, table(rows[:270]).drop("load"))


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        (lambda t: t.drop("load"), ["load"]),
        (lambda t: t.select("time"), ["load"]),
    ],
    ids=["one", "all"],
)
def test_missing_columns_are_named(
    bundle: Bundle, change: Callable[[pl.DataFrame], Any], columns: Sequence[str]
) -> None:
    with raises(DataError, code="columns-missing", file="history", columns=columns):
        answer(bundle, change(table(LAST)))


def test_a_column_of_text_is_refused_with_its_first_cell(bundle: Bundle) -> None:
    with raises(DataError, code="not-a-number", file="history", column="load", row=1):
        answer(bundle, table(LAST).with_columns(load=pl.lit("much")))


@pytest.mark.parametrize(
    ("change", "code", "data"),
    [
        (lambda t: t.drop("time"), "time-column-missing", {"column": "time"}),
        (lambda t: t.clear(), "no-rows", {}),
        (lambda t: t.vstack(t.tail(1).with_columns(load=0.0)), "repeated-times", {"rows": 1, "row": 271}),
        (lambda t: t.with_columns(load=pl.lit(float("inf"))), "value-infinite", {"column": "load", "row": 1}),
        (lambda t: 42, "no-table", {}),
        (lambda t: {"time": [1, 2], "load": [1.0]}, "no-table", {}),
        (lambda t: t.with_columns(time=pl.int_range(t.height)), "column-not-times", {"column": "time"}),
    ],
    ids=["no time", "no rows", "a time twice", "infinity", "a number", "columns of unequal length", "times as numbers"],
)
def test_a_history_that_cannot_be_read_is_refused(
    bundle: Bundle, change: Callable[[pl.DataFrame], Any], code: str, data: dict[str, Any]
) -> None:
    with raises(DataError, code=code, file="history", **data):
        answer(bundle, change(table(LAST)))


def test_a_history_with_too_few_rows_is_refused(bundle: Bundle) -> None:
    with raises(DataError, code="history-too-short", found=11, expected=12):
        answer(bundle, table(LAST).tail(11))


def test_a_row_that_is_absent_is_an_empty_row(bundle: Bundle) -> None:
    history = table(LAST)
    empty = history.with_columns(
        pl.when(pl.int_range(pl.len()).is_in([260, 261])).then(None).otherwise(pl.col(name)).alias(name)
        for name in ("load", "wind")
    )
    absent = pl.concat([history.head(260), history.tail(8)])
    assert answer(bundle, absent).frame().equals(answer(bundle, empty).frame())


def test_a_history_that_holds_too_few_rows_of_the_window_is_refused(bundle: Bundle) -> None:
    history = table(LAST)
    used = answer(bundle, history.filter(~pl.int_range(pl.len()).is_in([260, 262, 264])))
    assert used.warnings == ()
    with raises(DataError, code="history-empty", found=8, expected=9):
        answer(bundle, history.filter(~pl.int_range(pl.len()).is_in([260, 262, 264, 266])))


def emptied(count: int) -> pl.DataFrame:
    """The history with an empty target in its last rows."""
    row = pl.int_range(pl.len())
    return table(LAST).with_columns(load=pl.when(row < len(LAST) - count).then("load"))


def test_a_history_whose_newest_targets_are_empty_says_so_and_since_when(bundle: Bundle) -> None:
    response = answer(bundle, emptied(3))
    since = str(np.datetime64(int(LAST.times[-3]), "ns").astype("datetime64[s]"))
    assert len(response.warnings) == 1
    assert "load is empty in the last 3 rows" in str(response.warnings[0])
    assert f"from {since}+00:00 on" in str(response.warnings[0])
    assert response.times[0] == LAST.times[-1] + HOUR


@pytest.mark.parametrize("count", [4, 11, 12, 24, 270])
def test_a_history_that_ends_with_the_rows_to_forecast_is_refused(bundle: Bundle, count: int) -> None:
    with raises(DataError, code="history-empty", found=max(12 - count, 0), expected=9) as raised:
        answer(bundle, emptied(count))
    if count < 12:
        assert str(np.datetime64(int(LAST.times[-count]), "ns").astype("datetime64[s]")) in str(raised.value)


def test_a_model_that_uses_no_history_answers_and_says_that_the_history_is_empty() -> None:
    pytest.importorskip("prophet")
    experiment, store = small_experiment(small_spec(("prophet",)))
    bundle = load_bundle(store, fit(store, experiment, "prophet").bundle_sha256)
    full, empty = answer(bundle, table(LAST)), answer(bundle, emptied(270))
    np.testing.assert_allclose(empty.mean, full.mean, rtol=1e-12)
    assert (full.warnings, len(empty.warnings)) == ((), 1)
    assert "rests on" not in str(empty.warnings[0])


def test_a_history_of_half_the_rows_holds_too_little(bundle: Bundle) -> None:
    with raises(DataError, code="history-empty", found=6, expected=9):
        answer(bundle, table(LAST).gather_every(2))


def test_empty_cells_reach_the_model_as_they_are(bundle: Bundle) -> None:
    holes = LAST.values.copy()
    holes[-3:, 1] = holes[-5, 0] = np.nan
    history = table(Rows(LAST.times, holes, LAST.columns))
    rows, _ = usable_history(bundle, RawTable.of("history", history))
    assert np.array_equal(rows.values[-12:], holes[-12:], equal_nan=True)
    alone = Rows(LAST.times, holes, LAST.columns)
    assert answer(bundle, history).mean.tolist() == bundle.forecast_each([alone]).mean[0].tolist()


def test_a_column_without_any_value_is_a_column_of_empty_cells(bundle: Bundle) -> None:
    response = answer(bundle, table(LAST).with_columns(wind=pl.lit(None)))
    assert np.isfinite(response.mean).all()


@pytest.mark.parametrize("level", [0.79, 0.0, 1.0, 80.0, float("nan"), -0.8])
def test_an_unknown_level_is_refused_with_the_valid_ones(bundle: Bundle, level: float) -> None:
    with raises(UsageError, code="unknown-level", valid=["0.5", "0.8", "0.9", "0.95"]):
        answer(bundle, table(LAST), level)


def test_a_higher_level_has_wider_bounds_around_the_same_mean(bundle: Bundle) -> None:
    answers = [answer(bundle, table(LAST), level) for level in (0.5, 0.8, 0.9, 0.95)]
    for narrow, wide in itertools.pairwise(answers):
        assert (wide.lower < narrow.lower).all()
        assert (wide.upper > narrow.upper).all()
        assert wide.mean.tolist() == narrow.mean.tolist()


def test_too_few_validation_windows_give_null_bounds_and_a_reason_in_the_manifest() -> None:
    few = bundle_of(hourly(100))
    response = answer(few, table(hourly(100)))
    assert (few.manifest.intervals.offsets, response.interval) == (None, "none")
    assert few.manifest.intervals.reason == "fewer than 20 validation windows"
    assert np.isfinite(response.mean).all()
    assert np.isnan(response.lower).all()
    frame = response.frame()
    assert frame["lower"].null_count() == frame["upper"].null_count() == 3
    assert frame["mean"].null_count() == 0


def test_the_answer_as_a_table_has_one_row_per_step_and_target() -> None:
    two = bundle_of(dataset={"targets": ["wind", "load"]})
    response = answer(two, table(LAST))
    frame = response.frame()
    assert frame.columns == ["time", "target", "mean", "lower", "upper"]
    assert frame["target"].to_list() == ["wind", "load"] * 3
    assert frame["time"].dtype == pl.Datetime("ns", "UTC")
    assert frame["time"].to_physical().to_list() == [int(t) for t in response.times for _ in range(2)]
    assert frame["mean"].to_list() == response.mean.ravel().tolist()
    late = answer(two, emptied(2))
    assert "history: load is empty in the last 2 rows" in str(late.warnings[0])


def test_the_time_column_is_called_as_in_training_or_time() -> None:
    train, test = (part.rename({"time": "when"}) for part in split(ROWS, 60))
    experiment, store = experiment_on(small_spec(dataset={"time_column": "when"}), train, test)
    bundle = load_bundle(store, fit(store, experiment).bundle_sha256)
    assert bundle.manifest.time_column == "when"
    one, two = answer(bundle, table(LAST, "when")).frame(), answer(bundle, table(LAST, "time")).frame()
    assert one.equals(two)
    both = table(LAST, "when").with_columns(time=pl.lit("not a time"))
    assert answer(bundle, both).frame().equals(one)
    assert answer(bundle, table(LAST, "moment")).frame().equals(one), "the only column of dates"
    with raises(DataError, code="time-column-missing", column="when"):
        answer(bundle, table(LAST, "moment").with_columns(other=pl.col("moment")))


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


def test_a_model_with_lags_uses_more_rows_than_it_needs() -> None:
    lagged = bundle_of(preprocess={"lags": [24]})
    assert lagged.manifest.history_rows >= 36
    assert lagged.manifest.min_history_rows == 12
    assert len(usable_history(lagged, RawTable("history", table(LAST)))[0]) >= 36
    assert len(usable_history(lagged, RawTable("history", table(LAST[-20:])))[0]) == 20
    assert np.isfinite(answer(lagged, table(LAST[-12:])).mean).all()
    with raises(DataError, code="history-too-short", found=11, expected=12):
        answer(lagged, table(LAST[-11:]))


def test_times_are_local_with_their_offset_in_the_zone_of_train() -> None:
    zone = "Europe/Berlin"
    days = pd.date_range("2023-12-01", periods=330, freq="D")
    values = {"load": np.arange(330.0) % 7, "wind": np.ones(330)}
    frame = pl.DataFrame({"time": days.strftime("%Y-%m-%d").tolist(), **values})
    experiment, store = experiment_on(small_spec(dataset={"timezone": zone}), frame[:250], frame[250:])
    bundle = load_bundle(store, fit(store, experiment).bundle_sha256)
    times = answer(bundle, frame.filter(pl.col("time") < "2024-10-26")).frame()["time"]
    assert times.dtype == pl.Datetime("ns", zone)
    assert [time.isoformat() for time in times] == [
        "2024-10-26T00:00:00+02:00",
        "2024-10-27T00:00:00+02:00",
        "2024-10-28T00:00:00+01:00",
    ]


def test_a_file_is_named_in_what_is_said_about_it(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    emptied(3).write_csv(path)
    response = answer(bundle, RawFile("rows.csv", path))
    assert str(response.warnings[0]).startswith("rows.csv: ")
    assert response.frame().equals(answer(bundle, emptied(3)).frame())


def test_rows_older_than_the_window_may_be_absent() -> None:
    pytest.importorskip("statsforecast")
    experiment, store = small_experiment(small_spec(("automfles",)), hourly(300))
    bundle = load_bundle(store, fit(store, experiment, "automfles").bundle_sha256)
    assert bundle.manifest.history_rows > 12
    older = table(LAST).filter(~pl.int_range(pl.len()).is_in([*range(200, 240)]))
    assert np.isfinite(answer(bundle, older).mean).all()
    assert len(rows_for(bundle, RawTable("history", older))) == len(LAST)


def test_a_shorter_horizon_cuts_the_answer(bundle: Bundle) -> None:
    whole, cut = answer(bundle, table(LAST)), answer(bundle, table(LAST), horizon=2)
    assert cut.frame().equals(whole.frame().head(2))
    assert answer(bundle, table(LAST), horizon=3).frame().equals(whole.frame())


@pytest.mark.parametrize("horizon", [4, 0, -1, 10**30])
def test_a_horizon_beyond_the_trained_one_is_refused_with_the_largest(bundle: Bundle, horizon: int) -> None:
    with raises(UsageError, code="horizon-out-of-range", found=horizon, expected=3):
        answer(bundle, table(LAST), horizon=horizon)


@pytest.fixture(scope="module", params=["prophet", "automfles"])
def further(request: pytest.FixtureRequest) -> Bundle:
    """A family whose forecast can go on."""
    if not has_libraries(request.param):
        pytest.skip(f"the libraries of {request.param} are not installed")
    experiment, store = small_experiment(small_spec((request.param,)), hourly(300))
    return load_bundle(store, fit(store, experiment, request.param).bundle_sha256)


def test_a_family_that_can_go_on_answers_a_longer_horizon_without_bounds(further: Bundle) -> None:
    trained, longer = answer(further, table(LAST)), answer(further, table(LAST), horizon=30)
    assert longer.times.tolist() == [int(LAST.times[-1]) + HOUR * step for step in range(1, 31)]
    for name in ("mean", "lower", "upper"):
        np.testing.assert_array_equal(getattr(longer, name)[:3], getattr(trained, name))
    assert np.isfinite(longer.mean).all()
    assert np.isnan(longer.lower[3:]).all()
    assert np.isnan(longer.upper[3:]).all()
    assert longer.interval == trained.interval != "none"
    day = longer.mean[3:, 0]
    assert day.max() - day.min() > 0.2 * float(further.model.task.fitted.target_range[1][0])


def test_it_goes_no_further_than_times_can_be_written(further: Bundle) -> None:
    assert len(answer(further, table(LAST), horizon=LONGEST).times) == LONGEST
    with raises(UsageError, code="horizon-out-of-range", expected=LONGEST):
        answer(further, table(LAST), horizon=LONGEST + 1)


@pytest.mark.parametrize(("name", "horizon"), [("automfles", 263), ("prophet", 100)])
def test_years_end_where_64_bits_do(name: str, horizon: int) -> None:
    if not has_libraries(name):
        pytest.skip(f"the libraries of {name} are not installed")
    frame = pl.DataFrame({"time": [f"{year}-01-01" for year in range(1850, 2000)], "load": np.arange(150.0) % 7})
    experiment, store = experiment_on(small_spec((name,)), frame[:110], frame[110:])
    yearly = load_bundle(store, fit(store, experiment, name).bundle_sha256)
    last = np.datetime64(f"{1999 + horizon}-01-01", "ns").astype(np.int64)
    assert answer(yearly, frame, horizon=horizon).times[-1] == last
    with raises(UsageError, code="horizon-out-of-range", found=264, expected=263):
        answer(yearly, frame, horizon=264)
    if name == "prophet":  # it counts nanoseconds from 1850 on
        with raises(UsageError, code="horizon-out-of-range", found=200, expected=3):
            answer(yearly, frame, horizon=200)


def test_rows_that_repeat_another_whole_row_count_once_and_the_answer_says_so(bundle: Bundle) -> None:
    history = table(LAST)
    for twice in (history.vstack(history.tail(1)), history.vstack(history), pl.concat([history[:5], history[4:]])):
        response = answer(bundle, twice)
        assert response.frame().equals(answer(bundle, history).frame())
        assert "rows-repeated" in [notice.code for notice in response.warnings]
    empty = history.with_columns(load=pl.when(pl.int_range(pl.len()) != 260).then("load"))
    assert answer(bundle, empty.vstack(empty[260:261])).mean.tolist() == answer(bundle, empty).mean.tolist()


def test_the_warnings_of_a_history_name_its_rows_and_columns(bundle: Bundle) -> None:
    history = table(LAST).with_columns(
        note=pl.lit("x"), load=pl.when(pl.int_range(pl.len()) == 3).then(1e9).otherwise("load")
    )
    response = answer(bundle, history.tail(120).reverse().vstack(history.tail(1)))
    assert [(notice.code, notice.column, notice.row) for notice in response.warnings] == [
        ("columns-unused", "note", None),
        ("unsorted", None, 2),
        ("rows-repeated", None, 121),
    ]
