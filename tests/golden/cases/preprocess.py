"""Every rule of preprocessing that decides a stored number, each on rows that another rule would treat otherwise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
from tests.support.series import HOUR, START, hourly, split

from flts.contracts.errors import DataError
from flts.preprocess.fit import check_regular, fit, infer_seasons, infer_step, seasonal_error
from flts.preprocess.read import split as split_rows
from flts.preprocess.resample import resample
from flts.preprocess.rows import Rows, Values
from flts.preprocess.sample import TEST, TRAIN, take
from flts.preprocess.source import RawInput, RawTable
from flts.preprocess.stage import process
from flts.preprocess.transform import calendar, transform
from flts.spec.fields import Preprocess, ResampleRule, Sample
from flts.spec.sources import validate

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
    }


def gaps() -> Outputs:
    """Rows with gaps, outliers and an empty column: what is fitted, and the finished rows."""
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
        "train": processed.train.values.tolist(),
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
        finished = fit(rows, Preprocess.model_validate(table), HOUR, "UTC")
        found[name] = {
            column.name: [column.center, column.scale, column.low, column.high, column.median]
            for column in finished.fitted.columns
        } | {"warnings": len(finished.warnings)}
    return found


def steps() -> Outputs:
    """The step on a tie, how regular rows must be, seasons, and the error that MASE divides by."""

    def verdict(breaks: int) -> str:
        differences = np.full(1000, HOUR)
        differences[:breaks] = 2 * HOUR
        try:
            _, warnings = check_regular(np.concatenate([[0], np.cumsum(differences)]), HOUR, "rows")
        except DataError:
            return "refused"
        return "warned" if warnings else "accepted"

    series = np.round(hourly(48, seed=8).values[:, 0], 6)
    tie = np.cumsum([0, 2 * HOUR, 2 * HOUR, HOUR, HOUR, 3 * HOUR])
    return {
        "tie": infer_step(tie, "infer", "rows"),
        "broken": {str(breaks): verdict(breaks) for breaks in (15, 20, 21, 25, 200, 250, 251, 260)},
        "seasons": {str(rows): infer_seasons(HOUR, rows) for rows in (47, 48, 335, 336)},
        "seasons of a day": infer_seasons(24 * HOUR, 14),
        "seasons of half a day": infer_seasons(12 * HOUR, 28),
        "seasonal error": {str(season): seasonal_error(series, season) for season in (1, 23, 24, 25)},
    }


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
    rows, _ = resample(Rows(minutes * 60 * 10**9, values[:, None], ("load",)), rule, HOUR, "rows")
    return {"cells": (rows.times // HOUR).tolist(), "values": plain(rows.values)}


def features() -> Outputs:
    """Features with lags of both targets and an empty cell, and the calendar where a clock changes."""
    rows = hourly(30, seed=9)
    values = np.round(rows.values, 3)
    values[[4, 11, 12], 1] = math.nan
    preprocess = Preprocess(lags=[2, 5], time_features=False, constant=0.5)
    fitted = fit(Rows(rows.times, values, rows.columns), preprocess, HOUR, "UTC").fitted.for_targets(("wind", "load"))
    change = 1_521_936_000 * 10**9  # 2018-03-25 00:00 UTC; in Madrid the clock went forward an hour later
    times = change + HOUR * np.arange(-1, 4, dtype=np.int64)
    return {
        "names": list(fitted.features),
        "values": transform(rows.times, values, fitted)[[0, 4, 5, 12, 29]].tolist(),
        "calendar": calendar(times, "Europe/Madrid").tolist(),
    }


def plain(values: Values) -> list[list[float | None]]:
    """Numbers [rows][columns], None for NaN."""
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]
