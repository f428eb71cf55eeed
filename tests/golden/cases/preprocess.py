"""Every rule of preprocessing that decides a stored number, each on rows that another rule would treat otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from tests.support.series import HOUR, START, hourly, split

from flts.contracts.errors import DataError
from flts.contracts.records.data import CALENDAR
from flts.preprocess.fit import fit, seasonal_error
from flts.preprocess.grid import Grid, utc_time
from flts.preprocess.infer import infer_grid, infer_seasons
from flts.preprocess.place import place
from flts.preprocess.read import split as split_rows
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.sample import TEST, TRAIN, take
from flts.preprocess.source import RawInput, RawTable
from flts.preprocess.stage import process
from flts.preprocess.transform import calendar, calendar_columns, transform
from flts.spec.fields import Preprocess, ResampleRule, Sample
from flts.spec.sources import validate
from flts.spec.steps import Step

SCALERS = ("minmax", "standard", "robust", "maxabs", "none")
Outputs = Mapping[str, Any]


def cases() -> Outputs:
    """The outputs of every case by name."""
    return {
        "gaps": gaps(),
        "columns": columns(),
        "steps": steps(),
        "samples": samples(),
        "resampled": {rule: resampled(rule) for rule in get_args(ResampleRule) if rule != "off"},
        "features": features(),
        "business days of months": business_days_of_months(),
        "a written index": written_index(),
    }


def written_index() -> Outputs:
    """Columns that number the rows, under names that programs write and under another one, and rows in odd text."""
    rows = hourly(48, seed=3, columns=("load",))
    counts = [str(i) for i in range(48)]
    cells = [f"{value:.2f}".replace(".", ",") for value in rows.values[:, 0]]
    days = [f"{1 + i // 24:02d}.02.2018 {i % 24}:00" for i in range(48)]
    table = {"time": days, "": counts, "row_id": counts, "since": counts, "load": ["n/a", *cells[1:]]}
    processed = process(validate({"dataset": {"targets": ["load"]}}), RawInput(RawTable.of("rows", table), None))
    return {"summary": processed.summary.model_dump(mode="json"), "test": processed.test.values.tolist()}


def gaps() -> Outputs:
    """Rows with gaps, outliers and an empty column: what is fitted, and the rows on the grid."""
    rows = hourly(72, seed=5, columns=("load", "wind", "gone"))
    rows.values[[3, 4, 30, 31, 32, 33], 0] = math.nan
    rows.values[40, 1] = 500.0
    rows.values[1:, 2] = math.nan
    spec = validate(
        {
            "dataset": {"targets": ["load"], "timezone": "Europe/Madrid"},
            "preprocess": {
                "missing": {"max_gap": 2},
                "outliers": {"enabled": True},
                "lags": [1, 24],
                "scaler": "robust",
                "constant": 1.0,
            },
        }
    )
    train_table, test_table = split(rows, 12)
    processed = process(spec, RawInput(RawTable("train", train_table), RawTable("test", test_table)))
    return {
        "summary": processed.summary.model_dump(mode="json"),
        "train": plain(processed.train.values),
        "test": plain(processed.test.values),
        "times": [processed.train.times.tolist()[0], processed.test.times.tolist()[-1]],
    }


def columns() -> Outputs:
    """What is fitted to each column, with every scaler and both rules for outliers.

    Two columns vary by 5e-13 and by 4e-12 of their value: the first counts as constant. Of another, a third is empty.
    """
    count = 40
    wave = np.round(hourly(count, seed=7).values, 6)
    flat = np.ones((count, 3))
    flat[::2, 0] += 2.0**-41
    flat[::2, 1] += 2.0**-38
    flat[:, 2] = 0.1
    wave[5, 0], wave[6, 1] = 400.0, -300.0
    third = np.where(np.arange(count) % 3 == 0, math.nan, wave[:, 0])[:, None]
    rows = Rows(
        START + HOUR * np.arange(count, dtype=np.int64),
        np.hstack([wave, -wave[:, :1], flat, third]),
        ("load", "wind", "below", "constant", "varies", "tenth", "third"),
    )
    tables: dict[str, dict[str, Any]] = {scaler: {"scaler": scaler} for scaler in SCALERS}
    tables["iqr"] = {"outliers": {"enabled": True}}
    tables["quantile"] = {"outliers": {"enabled": True, "method": "quantile", "factor": 5.0}}
    tables["added"] = {"scaler": "maxabs", "constant": -60.0}
    tables["dropped"] = {"missing": {"drop_columns_above": 14 / 40 - 1e-6}}
    tables["kept"] = {"missing": {"drop_columns_above": 14 / 40}}
    found: dict[str, Any] = {}
    for name, table in tables.items():
        fitted = fit(rows, Preprocess.model_validate(table), hours())
        found[name] = {
            column.name: [column.center, column.scale, column.low, column.high, column.median]
            for column in fitted.preprocess.columns
        } | {"warnings": len(fitted.warnings)}
    return found


def hours() -> Grid:
    """An hourly grid in UTC."""
    return Grid(Step.parse("1h"), "UTC", False)


def local(first: str, count: int, hours: int = 24, clock: int = 0) -> Times:
    """Times in Madrid that are so many hours of its clock apart."""
    start = np.datetime64(first, "ns").astype(np.int64) + clock * HOUR
    return utc_time(start + hours * HOUR * np.arange(count, dtype=np.int64), "Europe/Madrid")


def months(count: int, apart: int, *, end: bool = False) -> Times:
    """The first or last days of so many months."""
    first = np.datetime64("2019-02", "M") + np.arange(count) * apart + end
    return first.astype("datetime64[ns]").astype(np.int64) - end * 24 * HOUR


def steps() -> Outputs:
    """Which grid rows lie on, the seasons of each step, and the error that MASE divides by."""
    series = np.round(hourly(48, seed=8).values[:, 0], 6)
    holes = series.copy()
    holes[[5, 29, 40]] = math.nan
    weekdays = np.flatnonzero(np.arange(40) % 7 < 5) * 24 * HOUR + 4 * 24 * HOUR  # from Monday 1970-01-05
    jitter = np.arange(40) * HOUR + np.array([-3, 2, 0, 1, -1, 3, -2, 0] * 5) * 10**6
    rows: Mapping[str, Times] = {
        "tie": np.cumsum([0, 2 * HOUR, 2 * HOUR, HOUR, HOUR, 3 * HOUR]),
        "a minute before the hour": np.arange(30) * HOUR - HOUR // 60,
        "jitter": jitter[1:],
        "local days": local("2024-03-20", 30),
        "days of UTC": np.datetime64("2024-03-20", "ns").astype(np.int64) + 24 * HOUR * np.arange(30),
        "local weeks from Wednesday": local("2024-01-03", 30, 168, clock=6),
        "six hours of the clock": local("2024-03-20", 60, 6),
        "weekdays": weekdays,
        "months": months(30, 1),
        "ends of months": months(30, 1, end=True),
        "quarters from February": months(20, 3),
        "years": months(6, 12),
    }
    grids = {name: infer_grid(times, "infer", "Europe/Madrid", "off", "rows") for name, times in rows.items()}
    ahead = {name: grid.after(rows[name][-1:], 3)[0] for name, grid in grids.items()}
    return {
        "grids": {name: grid.record().model_dump(mode="json") for name, grid in grids.items()},
        "next": {name: (times // 10**9).tolist() for name, times in ahead.items()},
        "seasons": {
            f"{step}, {count} rows": infer_seasons(Grid(Step.parse(step), "UTC", False), count)
            for step in ("30min", "1h", "12h", "1d", "2d", "1w", "1bd", "1mo", "3mo", "1y")
            for count in (9, 14, 24, 47, 48, 104, 335, 336, 729, 730)
        },
        "seasonal error": {str(season): seasonal_error(series, season) for season in (1, 23, 24, 25)},
        "seasonal error with holes": {str(season): seasonal_error(holes, season) for season in (1, 24)},
        "off the grid": {str(late): refused(late) for late in (0, 179, 180, 181, 1800)},
    }


def business_days_of_months() -> Outputs:
    """The grid of rows on the first or last business day of their months or quarters, and the next times on it."""
    months = np.datetime64("2019-02", "M") + np.arange(31)
    starts = months.astype("datetime64[D]")
    first, last = np.busday_offset(starts, 0, roll="forward"), np.busday_offset(starts, -1, roll="forward")
    found = {}
    for name, days in {"first": first, "last": last, "last of quarters": last[2::3]}.items():
        times = days.astype("datetime64[ns]").astype(np.int64)
        for rule in ("off", "mean"):
            grid = infer_grid(times, "infer", "Europe/Madrid", rule, "rows")
            ahead = (grid.after(times[-1:], 3)[0] // 10**9).tolist()
            found[f"{name}, {rule}"] = {"grid": grid.record().model_dump(mode="json"), "next": ahead}
    return found


def refused(late: int) -> bool:
    """Whether a row that is so many seconds late is refused."""
    times = np.arange(60, dtype=np.int64) * HOUR
    grid = infer_grid(times, "infer", "UTC", "off", "rows")
    times[30] += late * 10**9
    try:
        place(Rows(times, np.ones((60, 1)), ("load",)), grid, "off", "rows")
    except DataError:
        return True
    return False


def samples() -> Outputs:
    """Which rows are test rows, and which a sample keeps."""
    rows = hourly(200)
    found: dict[str, Any] = {
        "test rows": {
            f"{count} · {fraction}": len(split_rows(rows[:count], fraction, "rows")[1])
            for count, fraction in ((25, 0.1), (35, 0.1), (37, 0.1), (33, 0.1), (10, 0.25), (14, 0.25))
        }
    }
    for strategy in ("head", "tail", "random"):
        for seed in (42, 7):
            sample = Sample(strategy=strategy, seed=seed)
            kept = [take(rows, count, sample, part) for count in (0, 50, 199, 200) for part in (TRAIN, TEST)]
            found[f"{strategy} {seed}"] = [[int(part.times[0] - START) // HOUR, len(part)] for part in kept]
    return found


def resampled(rule: ResampleRule) -> Outputs:
    """Cells with several values, one value, none, and no row at all; two rows have the same time."""
    minutes = np.array([5, 20, 20, 50, 61, 70, 125, 130, 359, 360], dtype=np.int64)
    values = np.array([3.0, 9.0, -1.0, math.nan, math.nan, math.nan, 4.0, 8.0, 5.5, 6.5])
    times = minutes * 60 * 10**9
    grid = infer_grid(times, "1h", "UTC", rule, "rows")
    rows, _ = place(Rows(times, values[:, None], ("load",)), grid, rule, "rows")
    return {"cells": (rows.times // HOUR).tolist(), "values": plain(rows.values)}


def features() -> Outputs:
    """Features with lags of both targets and an empty cell, and the calendar where a clock changes."""
    rows = hourly(30, seed=9)
    values = np.round(rows.values, 3)
    values[[4, 11, 12], 1] = math.nan
    preprocess = Preprocess(lags=[2, 5], time_features=False, constant=0.5)
    fitted = fit(Rows(rows.times, values, rows.columns), preprocess, hours()).preprocess.for_targets(("wind", "load"))
    change = 1_521_936_000 * 10**9  # 2018-03-25 00:00 UTC; in Madrid the clock went forward an hour later
    times, in_madrid = change + HOUR * np.arange(-1, 4, dtype=np.int64), Grid(Step.parse("1h"), "Europe/Madrid", False)
    return {
        "names": list(fitted.features),
        "values": transform(rows.times, values, fitted)[[0, 4, 5, 12, 29]].tolist(),
        "calendar": calendar(times, replace(fitted, grid=in_madrid, calendar=CALENDAR)).tolist(),
        "calendar columns": {
            f"{days} days of {step}": calendar_columns(days * 24 * HOUR, Step.parse(step).nanoseconds)
            for step in ("1h", "1d", "1w", "1mo")
            for days in (1, 2, 13, 14, 730, 731)
        },
    }


def plain(values: Values) -> list[list[float | None]]:
    """Numbers [rows][columns], None for NaN."""
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]
