"""Fit everything that features need, on train only, and finish the train rows: clip, then fill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError
from flts.contracts.records.data import FittedColumn
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.transform import FittedPreprocess, fill
from flts.spec.fields import Preprocess, parse_step

MIN_REGULAR, WELL_REGULAR = 0.75, 0.98
"""Share of the rows one step after the row before: below the first they are refused, below the second warned of."""
ROUNDING = 1e-12
"""A column that varies by less than this share of its largest value is constant."""
DAY, WEEK = 86_400 * 10**9, 7 * 86_400 * 10**9


@dataclass(frozen=True)
class Finished:
    """Train rows without empty cells, the fitted statistics, and the dropped columns with their reasons."""

    train: Rows
    fitted: FittedPreprocess
    dropped: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def fit(train: Rows, preprocess: Preprocess, step: int, timezone: str) -> Finished:
    """Clip limits and medians from the raw train rows; range and scaler from the finished ones."""
    kept, dropped = _usable(train, preprocess.missing.drop_columns_above)
    columns = tuple(train.columns[i] for i in kept)
    raw = train.values if len(kept) == len(train.columns) else train.values[:, kept]
    low, high = outlier_limits(raw, preprocess)
    median = np.nanmedian(raw, axis=0) if raw.size else np.empty(0)
    finished = _finished(raw, low, high, median, preprocess.missing.max_gap)
    center, scale = _scaler(finished + preprocess.constant, preprocess.scaler)
    constant = [name for name, spread in zip(columns, np.ptp(finished, axis=0), strict=True) if spread == 0.0]
    stats = zip(columns, median, low, high, center, scale, finished.min(axis=0), finished.max(axis=0), strict=True)
    fitted = FittedPreprocess(
        columns=tuple(
            FittedColumn(
                name=name,
                median=float(md),
                low=float(lo) if np.isfinite(lo) else None,
                high=float(hi) if np.isfinite(hi) else None,
                center=float(ce),
                scale=float(sc),
                minimum=float(mn),
                maximum=float(mx),
            )
            for name, md, lo, hi, ce, sc, mn, mx in stats
        ),
        targets=(),
        step=step,
        timezone=timezone,
        max_gap=preprocess.missing.max_gap,
        time_features=preprocess.time_features,
        lags=tuple(preprocess.lags),
        constant=preprocess.constant,
    )
    warnings = [f"column '{name}' was dropped: {reason}" for name, reason in dropped]
    warnings += [f"column '{name}' is constant over train" for name in constant]
    return Finished(Rows(train.times, finished, columns), fitted, tuple(dropped), tuple(warnings))


def _finished(raw: Values, low: Values, high: Values, median: Values, max_gap: int) -> Values:
    """Clip and fill one column at a time, so that only one is in memory several times."""
    # sums run along columns; another memory order would change their last bits
    finished = np.empty(raw.shape, order="F")
    for i in range(raw.shape[1]):
        column = slice(i, i + 1)
        # fmin and fmax would turn an empty cell into a limit; minimum and maximum keep it empty
        clipped = np.minimum(np.maximum(raw[:, column], low[i]), high[i])
        finished[:, column] = fill(clipped, median[column], max_gap)
    return finished


def infer_step(times: Times, step: str, name: str) -> int:
    """The step in nanoseconds: `step` of the Spec, or for "infer" the most common difference (the smaller on a tie).

    name: what messages call the table. Raises DataError for fewer than two rows.
    """
    if step != "infer":
        return parse_step(step)
    if len(times) < 2:
        raise DataError(
            f"{name}: the step cannot be inferred from {len(times)} row; at least two rows are needed",
            code="too-few-rows",
            file=name,
            found=len(times),
            expected=2,
        )
    differences, counts = np.unique(np.diff(times), return_counts=True)
    return int(differences[np.argmax(counts)])


def check_regular(times: Times, step: int, name: str) -> tuple[float, list[str]]:
    """Share of differences that equal the step, and a warning below 98 %. Raises DataError below 75 %."""
    if len(times) < 2:
        return 1.0, []
    differences = np.diff(times)
    share = float(np.mean(differences == step))
    if share >= WELL_REGULAR:
        return share, []
    row = int(np.argmax(differences != step))
    regularity = f"{share:.1%} of the rows follow the one before by the step of {format_step(step)}"
    first_break = f"first otherwise after row {row + 1}: {format_step(int(differences[row]))}"
    if share < MIN_REGULAR:
        raise DataError(
            f"{name}: only {regularity} ({first_break}); at least {MIN_REGULAR:.0%} must;"
            f' set preprocess.resample, such as "mean", and dataset.step',
            code="irregular-rows",
            file=name,
            row=row + 1,
            found=share,
            expected=MIN_REGULAR,
        )
    return share, [
        f"{name}: {regularity} ({first_break}); windows across a broken step are dropped,"
        " preprocess.resample would mend them"
    ]


def infer_seasons(step: int, rows: int) -> list[int]:
    """Day and week in rows, where they are whole, at least 2 and at most half of train."""
    return [length // step for length in (DAY, WEEK) if length % step == 0 and 2 <= length // step <= rows // 2]


def seasonal_error(train: Values, season: int) -> float | None:
    """In-sample mean absolute error of the value one season earlier (MASE, Hyndman and Koehler 2006, eq. 3.4).

    train: one target over the finished train rows [rows]. None when train is shorter than two seasons.
    """
    if len(train) < 2 * season:
        return None
    return float(np.mean(np.abs(train[season:] - train[:-season])))


def format_step(step: int) -> str:
    """A duration for people: '2min', '1.5h'."""
    for unit, size in (("d", 86_400 * 10**9), ("h", 3_600 * 10**9), ("min", 60 * 10**9), ("s", 10**9), ("ms", 10**6)):
        if abs(step) >= size:
            return f"{step / size:g}{unit}"
    return f"{step}ns"


def _usable(train: Rows, limit: float) -> tuple[NDArray[np.intp], list[tuple[str, str]]]:
    """Indices of the columns to keep, and the dropped columns with the reason for each."""
    share = np.isnan(train.values).mean(axis=0) if len(train) else np.ones(len(train.columns))
    dropped = [
        (name, f"{missing:.0%} of its cells are empty in train (drop_columns_above = {limit:g})")
        for name, missing in zip(train.columns, share, strict=True)
        if missing > limit or missing == 1.0
    ]
    return np.flatnonzero((share <= limit) & (share < 1.0)), dropped


def outlier_limits(raw: Values, preprocess: Preprocess) -> tuple[Values, Values]:
    """Clip limits of each column; infinite where outliers are left alone."""
    rules = preprocess.outliers
    if not rules.enabled or not raw.size:  # numpy cannot take quantiles of zero columns
        return np.full(raw.shape[1], -np.inf), np.full(raw.shape[1], np.inf)
    if rules.method == "quantile":
        share = rules.factor / 100.0
        return _quantiles(raw, [share, 1.0 - share])
    first, third = _quantiles(raw, [0.25, 0.75])
    margin = rules.factor * (third - first)
    return first - margin, third + margin


def _quantiles(raw: Values, shares: Sequence[float]) -> tuple[Values, Values]:
    low, high = np.nanquantile(raw, shares, axis=0)
    return low, high


def _scaler(values: Values, kind: str) -> tuple[Values, Values]:
    """Centre and scale of each column; a scale of zero, or no larger than rounding errors, becomes one."""
    zero = np.zeros(values.shape[1])
    match kind:
        case "minmax":
            center, scale = values.min(axis=0), np.ptp(values, axis=0)
        case "standard":
            center, scale = values.mean(axis=0), values.std(axis=0)
        case "robust":
            first, center, third = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
            scale = third - first
        case "maxabs":
            center, scale = zero, np.abs(values).max(axis=0)
        case _:
            center, scale = zero, np.ones(values.shape[1])
    # the deviation of 0.1, 0.1, 0.1 is 1e-17, not 0: divided by it, any other value would be huge
    rounding = ROUNDING * np.abs(values).max(axis=0)
    return center, np.where(scale <= rounding, 1.0, scale)
