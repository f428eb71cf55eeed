"""Fit everything that features need, on train only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.contracts.records.data import FittedColumn
from flts.preprocess.grid import Grid
from flts.preprocess.rows import Rows, Values
from flts.preprocess.transform import FittedPreprocess, calendar_columns
from flts.spec.fields import Preprocess

INDEX = re.compile(
    r"\s*|unnamed.*|index|level_\d+|#|id|n[or]?\.?|row(s|names?|[_ ]?(id|no|nr|num|number|index))?"
    r"|num(ber)?|lfd.*|zeile(nnummer)?|obs.*|record.*|seq(uence)?",
    re.IGNORECASE,
)
"""Names that programs and people give to the numbers of rows, besides none."""
ROUNDING = 1e-12
"""A column that varies by less than this share of its largest value is constant."""


@dataclass(frozen=True)
class Fitted:
    """The statistics of train, the dropped columns with their reasons, and warnings."""

    preprocess: FittedPreprocess
    dropped: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]


def fit(train: Rows, preprocess: Preprocess, grid: Grid) -> Fitted:
    """Medians and clip limits of the train rows as they are; range and scaler of the clipped ones. No cell is filled.

    train: rows on the grid, empty cells NaN.
    """
    kept, dropped = _usable(train, preprocess.missing.drop_columns_above)
    columns = tuple(train.columns[i] for i in kept)
    # sums of a column run along it, however the rows are held, so that their last bits stay
    raw = np.asfortranarray(train.values[:, kept])
    low, high = outlier_limits(raw, preprocess)
    median = np.nanmedian(raw, axis=0) if raw.size else np.empty(0)
    # fmin and fmax would turn an empty cell into a limit; minimum and maximum keep it empty
    clipped = np.minimum(np.maximum(raw, low), high)
    smallest, largest = np.fmin.reduce(clipped), np.fmax.reduce(clipped)
    center, scale = _scaler(clipped + preprocess.constant, preprocess.scaler)
    constant = [name for name, least, most in zip(columns, smallest, largest, strict=True) if least == most]
    stats = zip(columns, median, low, high, center, scale, smallest, largest, strict=True)
    span = int(train.times[-1] - train.times[0]) + grid.step.nanoseconds
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
        grid=grid,
        placed=True,
        resample=preprocess.resample,
        max_gap=preprocess.missing.max_gap,
        calendar=tuple(calendar_columns(span, grid.step.nanoseconds)) if preprocess.time_features else (),
        lags=tuple(preprocess.lags),
        constant=preprocess.constant,
    )
    warnings = [f"column '{name}' was dropped: {reason}" for name, reason in dropped]
    warnings += [f"column '{name}' is constant over train" for name in constant]
    return Fitted(fitted, tuple(dropped), tuple(warnings))


def seasonal_error(train: Values, season: int) -> float | None:
    """In-sample mean absolute error of the value one season earlier (MASE, Hyndman and Koehler 2006, eq. 3.4).

    train: one target [rows], empty cells NaN; pairs with an empty cell do not count. None when train is shorter than
    two seasons, or has no pair.
    """
    if len(train) < 2 * season:
        return None
    errors = np.abs(train[season:] - train[:-season])
    measured = errors[~np.isnan(errors)]
    return float(np.mean(measured)) if len(measured) else None


def _usable(train: Rows, limit: float) -> tuple[NDArray[np.intp], list[tuple[str, str]]]:
    """Indices of the columns to keep, and the dropped columns with the reason for each."""
    empty = np.isnan(train.values)
    present = ~empty.all(axis=1)  # a row that is absent from the file says nothing about a column
    share = empty[present].mean(axis=0) if present.any() else np.ones(len(train.columns))
    reasons = {
        i: f"{missing:.0%} of its cells are empty in train (drop_columns_above = {limit:g})"
        for i, missing in enumerate(share)
        if missing > limit or missing == 1.0
    }
    for i, name in enumerate(train.columns):
        if i not in reasons and INDEX.fullmatch(name) and counts_rows(train.values[:, i]):
            reasons[i] = "it numbers the rows, as a written index does"
    kept = [i for i in range(len(train.columns)) if i not in reasons]
    return np.array(kept, dtype=np.intp), [(train.columns[i], reasons[i]) for i in sorted(reasons)]


def counts_rows(column: Values) -> bool:
    """Whether a column only numbers the rows, upwards or downwards: [rows], empty cells NaN."""
    apart = np.diff(column[~np.isnan(column)])
    return len(apart) > 1 and bool(apart[0] != 0.0) and bool((apart == apart[0]).all())


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
    """Centre and scale of the measured cells of each column.

    A scale of zero, or no larger than rounding errors, becomes one.
    """
    zero = np.zeros(values.shape[1])
    if not values.size:  # numpy cannot take quantiles of zero columns
        return zero, zero
    match kind:
        case "minmax":
            center = np.fmin.reduce(values)
            scale = np.fmax.reduce(values) - center
        case "standard":
            center, scale = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
        case "robust":
            first, center, third = np.nanquantile(values, [0.25, 0.5, 0.75], axis=0)
            scale = third - first
        case "maxabs":
            center, scale = zero, np.fmax.reduce(np.abs(values))
        case _:
            center, scale = zero, np.ones(values.shape[1])
    # the deviation of 0.1, 0.1, 0.1 is 1e-17, not 0: divided by it, any other value would be huge
    rounding = ROUNDING * np.fmax.reduce(np.abs(values))
    return center, np.where(scale <= rounding, 1.0, scale)
