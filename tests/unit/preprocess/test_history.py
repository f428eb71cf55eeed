"""A history is read by the rules that read train: zone, grid, resample rule, names of columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError
from flts.preprocess.fit import fit
from flts.preprocess.history import read_history
from flts.preprocess.infer import infer_grid
from flts.preprocess.place import place
from flts.preprocess.read import read_rows
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawTable
from flts.preprocess.transform import FittedPreprocess
from flts.spec.dataset import Dataset
from flts.spec.fields import Preprocess


def frame_of(index: pd.DatetimeIndex, **columns: Any) -> pl.DataFrame:
    """Local times without a zone, and values that grow by one a row."""
    times = index.tz_localize(None).to_numpy()
    return pl.DataFrame({"time": times, "y": np.arange(len(index), dtype=float), **columns})


def learned(frame: pl.DataFrame, zone: str = "UTC", step: str = "infer", rule: Any = "off") -> FittedPreprocess:
    rows = read_rows(RawTable("train", frame), Dataset(targets=["y"], timezone=zone)).rows
    grid = infer_grid(rows.times, step, zone, rule, "train")
    placed, _ = place(rows, grid, rule, "train")
    return fit(placed, Preprocess(resample=rule), grid).preprocess.for_targets(("y",))


def history(frame: pl.DataFrame, fitted: FittedPreprocess, time_column: str = "time") -> Rows:
    return read_history(RawTable("history", frame), fitted, time_column).rows


def test_rows_are_resampled_by_the_rule_of_train_whatever_part_of_a_step_the_history_begins_with() -> None:
    frame = frame_of(pd.date_range("2024-01-01", periods=1200, freq="10min", tz="UTC"))
    fitted = learned(frame, step="1h", rule="mean")
    rows = history(frame[-64:], fitted)  # ten hours and 40 minutes
    assert len(rows) == 11
    whole = frame["y"].to_numpy().reshape(-1, 6).mean(axis=1)
    np.testing.assert_allclose(rows.values[1:, 0], whole[-10:])


@pytest.mark.parametrize("rule", ["mean", "sum", "last"])
@pytest.mark.parametrize(("minutes", "kept"), [(60, 20), (50, 20), (30, 20), (10, 20)])
def test_a_newest_step_that_is_not_over_is_left_out_and_said(rule: str, minutes: int, kept: int) -> None:
    frame = frame_of(pd.date_range("2024-01-01", periods=1200, freq="10min", tz="UTC"))
    fitted = learned(frame, step="1h", rule=rule)
    part = frame[: 6 * (kept if minutes < 60 else kept - 1) + minutes // 10]
    reading = read_history(RawTable("history", part), fitted, "time")
    assert len(reading.rows) == kept
    assert len(reading.warnings) == (minutes < 60)
    whole = read_history(RawTable("history", frame[: 6 * kept]), fitted, "time")
    np.testing.assert_array_equal(reading.rows.values, whole.rows.values)


def test_a_day_that_always_ends_early_is_over_and_rows_at_odd_times_say_nothing() -> None:
    hours = pd.date_range("2024-01-01", periods=24 * 40, freq="h", tz="UTC")
    open_hours = frame_of(hours[(hours.hour >= 9) & (hours.hour <= 18)])
    fitted = learned(open_hours, step="1d", rule="sum")
    assert len(history(open_hours, fitted)) == 40
    assert len(history(open_hours[:-3], fitted)) == 39
    odd = pd.DatetimeIndex(np.sort(np.random.default_rng(3).choice(hours.to_numpy(), 300, replace=False)), tz="UTC")
    assert len(history(frame_of(odd), fitted)) == len({time.date() for time in odd})


def test_local_days_that_are_absent_are_empty_rows_across_a_change_of_the_clock() -> None:
    frame = frame_of(pd.date_range("2023-01-01", periods=460, freq="D", tz="Europe/Berlin"))
    rows = history(
        frame[-20:].with_row_index().filter(pl.col("index") != 15).drop("index"), learned(frame, "Europe/Berlin")
    )
    assert len(rows) == 20
    assert np.flatnonzero(np.isnan(rows.values[:, 0])).tolist() == [15]
    assert np.diff(rows.times).min() == 23 * 3600 * 10**9


def test_columns_come_in_the_order_of_train_and_others_are_left_out() -> None:
    index = pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC")
    fitted = learned(frame_of(index, x=np.ones(50)))
    rows = history(frame_of(index, z=["text"] * 50, x=np.zeros(50)).select("z", "x", "y", "time"), fitted)
    assert rows.columns == ("y", "x")
    assert rows.values[3].tolist() == [3.0, 0.0]
    with raises(DataError, code="columns-missing", file="history", columns=["x"]):
        history(frame_of(index), fitted)


def test_the_times_are_in_the_column_of_train_or_in_time() -> None:
    frame = frame_of(pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC"))
    fitted = learned(frame)
    renamed = history(frame.rename({"time": "when"}), fitted, "when")
    np.testing.assert_array_equal(renamed.times, history(frame, fitted, "when").times)


@pytest.mark.parametrize(
    ("shift", "code"), [(pd.Timedelta("30min"), "off-grid"), (pd.Timedelta("1min"), None), (pd.Timedelta("1D"), None)]
)
def test_rows_off_the_grid_of_train_are_refused(shift: pd.Timedelta, code: str | None) -> None:
    index = pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC")
    fitted = learned(frame_of(index))
    if code is None:
        assert len(history(frame_of(index + shift), fitted)) == 50
    else:
        with raises(DataError, code=code, file="history", row=1, step="1h"):
            history(frame_of(index + shift), fitted)


def test_equal_rows_count_once_where_no_rule_merges_rows_and_the_table_row_is_named() -> None:
    frame = frame_of(
        pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC"), x=[1.0, 2.0, 3.0, None] * 12 + [1.0, 2.0]
    )
    fitted = learned(frame)
    assert fitted.names == ("y", "x")
    reading = read_history(RawTable("history", frame[:10].vstack(frame[3:5])), fitted, "time")
    assert reading.rows.values[:, 0].tolist() == list(range(10))
    assert reading.given.tolist() == list(range(10))
    assert [(notice.code, notice.row) for notice in reading.warnings] == [("unsorted", 11), ("rows-repeated", 11)]
    other = frame[4:5].with_columns(y=pl.lit(7.0))
    with raises(DataError, code="repeated-times", file="history", rows=1, row=11):
        history(frame[:10].vstack(other), fitted)
    near = frame[4:5].with_columns(pl.col("time").dt.offset_by("1s"))
    with raises(DataError, code="repeated-times", file="history", rows=1, row=11):
        history(frame[:10].vstack(near), fitted)


def test_a_rule_that_merges_rows_merges_equal_ones_as_in_train() -> None:
    frame = frame_of(pd.date_range("2024-01-01", periods=1200, freq="10min", tz="UTC"))
    reading = read_history(
        RawTable("history", frame[:24].vstack(frame[6:7])), learned(frame, step="1h", rule="sum"), "time"
    )
    assert reading.rows.values[:2, 0].tolist() == [sum(range(6)), sum(range(6, 12)) + 6]
    assert "rows-repeated" not in [notice.code for notice in reading.warnings]
    assert reading.given.tolist() == [0, 6, 12, 18]


def test_rows_that_the_table_does_not_have_are_no_rows_of_it() -> None:
    frame = frame_of(pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC"))
    reading = read_history(RawTable("history", pl.concat([frame[:3], frame[5:8]])), learned(frame), "time")
    assert reading.given.tolist() == [0, 1, 2, -1, -1, 3, 4, 5]


def test_a_row_off_the_grid_is_the_row_of_the_table() -> None:
    frame = frame_of(pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC"))
    stray = frame[7:8].with_columns(pl.col("time").dt.offset_by("30m"))
    with raises(DataError, code="off-grid", row=2):
        history(pl.concat([frame[9:10], stray, frame[:7]]), learned(frame))


def test_columns_that_are_not_used_are_named_and_not_read() -> None:
    index = pd.date_range("2024-01-01", periods=50, freq="h", tz="UTC")
    fitted = learned(frame_of(index))
    odd = frame_of(index, much=[float("inf")] * 50, note=["x"] * 50, **{f"c{i}": np.ones(50) for i in range(30)})
    reading = read_history(RawTable("history", odd), fitted, "time")
    assert len(reading.rows) == 50
    assert [(notice.code, notice.column) for notice in reading.warnings] == [("columns-unused", "much")]
    assert "'much', 'note', 'c0'" in str(reading.warnings[0])
    assert str(reading.warnings[0]).endswith("and 12 more")


def test_a_history_without_the_time_column_of_train_names_that_column_and_the_one_that_may_be_it() -> None:
    frame = frame_of(pd.date_range("2024-01-01", periods=48, freq="h", tz="UTC"))
    named = frame.select(pl.col("time").dt.to_string("%d.%m.%Y %H:%M").alias("Zeit"), "y")
    with raises(DataError, code="time-column-missing", column="Datum") as refused:
        history(named, learned(frame), "Datum")
    assert "'Zeit' holds '01.01.2024 00:00': call it 'Datum', as in training" in str(refused.value)
