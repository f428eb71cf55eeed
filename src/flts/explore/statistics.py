"""What can be measured on one column or two, in numpy: each formula with its source, no verdicts.

Columns are equidistant in time, NaN where nothing was measured. Nothing here changes a forecast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.preprocess.rows import Values

KPSS_CRITICAL = {"0.10": 0.347, "0.05": 0.463, "0.01": 0.739}
"""Critical values of the statistic for a constant level (Kwiatkowski et al. 1992, table 1)."""
SEEN = 3
"""Cycles of a season that its strength needs: classical decomposition loses one of them at the ends."""
KS_ROWS = 100_000
"""Evenly spaced rows by which distributions are compared; more would change the distance by less than 0.01."""
FEWEST = 8
"""Pairs of cells below which no correlation is reported."""


@dataclass(frozen=True)
class Parts:
    """A classical additive decomposition [rows]: NaN at the ends, where no whole season surrounds a row."""

    trend: Values
    seasonal: Mapping[int, Values]
    remainder: Values


def runs(flags: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Length of each run of True, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    lengths: NDArray[np.int64] = edges[1::2] - edges[::2]
    return lengths


def autocorrelation(column: Values, most: int) -> Values:
    """Correlation with itself 0 … `most` rows later, over the pairs that were measured.

    The estimate for series with missing cells of Parzen (1963), by the fast Fourier transform.
    """
    present = ~np.isnan(column)
    if present.sum() < 2:
        return np.full(most + 1, np.nan)
    centred = np.where(present, column - column[present].mean(), 0.0)
    size = _padded(len(column) + most)
    spectrum = np.fft.rfft(centred, size)
    products = np.fft.irfft(np.abs(spectrum) ** 2, size)[: most + 1]
    counts = np.round(np.fft.irfft(np.abs(np.fft.rfft(present, size)) ** 2, size)[: most + 1])
    variance = products[0] / counts[0]
    if variance <= 0.0:
        return np.full(most + 1, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, products / counts / variance, np.nan)


def kpss(column: Values) -> tuple[float, int] | None:
    """Is the level constant? The statistic of Kwiatkowski, Phillips, Schmidt and Shin (1992) and its number of lags.

    η = n⁻² Σ S_t² ÷ s²(l): S_t sums the deviations from the mean up to t; s²(l) is their long-run variance with
    Bartlett weights and l = ⌊12·(n/100)^¼⌋ lags (Schwert 1989). Large values speak against a constant level.
    Empty cells are left out. None below 10 cells, or when all are equal.
    """
    values = column[~np.isnan(column)]
    count = len(values)
    if count < 10:
        return None
    deviations = values - values.mean()
    lags = min(int(12.0 * (count / 100.0) ** 0.25), count - 1)
    variance = float(deviations @ deviations) / count
    long_run = variance + sum(
        2.0 * (1.0 - k / (lags + 1.0)) * float(deviations[k:] @ deviations[:-k]) / count for k in range(1, lags + 1)
    )
    if variance <= 1e-24 * float(values @ values) / count or long_run <= 0.0:
        return None
    sums = np.cumsum(deviations)
    return float(sums @ sums) / (count**2 * long_run), lags


def seasons_seen(seasons: Mapping[str, int], rows: int) -> dict[str, int]:
    """The seasons of which `rows` hold enough cycles to measure them."""
    return {name: length for name, length in seasons.items() if length >= 2 and rows >= SEEN * length}


def decompose(column: Values, seasons: tuple[int, ...]) -> Parts:
    """Trend, seasons, remainder: the classical additive decomposition (Hyndman and Athanasopoulos, FPP3, §3.4).

    The trend is a centred moving average over the longest season (2 × m where m is even), or over a tenth of the rows
    where there is none; then each season, shortest first, is the mean of what is left at its phase.
    """
    window = max(seasons, default=max(3, len(column) // 10))
    trend = _moving_average(column, window)
    left = column - trend
    seasonal = {}
    for season in sorted(seasons):
        phase = np.arange(len(column)) % season
        seasonal[season] = _phase_means(left, phase, season)[phase]
        left = left - seasonal[season]
    return Parts(trend, seasonal, left)


def trend_strength(parts: Parts) -> float | None:
    """F_T = max(0, 1 − Var(R) ÷ Var(T + R)) (Wang, Smith and Hyndman 2006; FPP3, §4.3)."""
    rows = ~np.isnan(parts.remainder)
    return _strength(parts.remainder[rows], (parts.trend + parts.remainder)[rows], 0, 0)


def season_strength(parts: Parts, season: int) -> float | None:
    """F_S = max(0, 1 − Var(R) ÷ Var(S + R)) (Wang, Smith and Hyndman 2006; FPP3, §4.3), on degrees of freedom.

    A season's means over k cycles explain 1/k of pure noise, so both variances are divided by the rows less the means
    taken out of them; noise then has strength 0 on average. None when hardly more rows than means are left.
    """
    rows = ~np.isnan(parts.remainder)
    lengths = sorted(parts.seasonal)
    # the means of a week contain those of its day: only what a longer season adds is taken besides
    inside = {n: max((shorter for shorter in lengths if shorter < n and n % shorter == 0), default=1) for n in lengths}
    means = {n: n - inside[n] for n in lengths}
    taken = sum(means.values())
    if rows.sum() < 1.5 * taken + 2:
        return None
    with_season = (parts.seasonal[season] + parts.remainder)[rows]
    return _strength(parts.remainder[rows], with_season, taken, taken - means[season])


def correlation(first: Values, second: Values, lag: int = 0) -> float | None:
    """Pearson's r of first(t) with second(t + lag), over the pairs that were measured; None where there is none."""
    if lag >= 0:
        x, y = first[: len(first) - lag], second[lag:]
    else:
        x, y = first[-lag:], second[: len(second) + lag]
    both = ~(np.isnan(x) | np.isnan(y))
    if both.sum() < FEWEST:
        return None
    x, y = x[both] - x[both].mean(), y[both] - y[both].mean()
    scale = math.sqrt(float(x @ x) * float(y @ y))
    return float(np.clip(x @ y / scale, -1.0, 1.0)) if scale > 0.0 else None


def best_lag(first: Values, second: Values, most: int) -> int:
    """The k in −most … most for which first(t) and second(t + k) are correlated most, whatever the sign."""
    size = _padded(len(first) + most)
    x, y = (np.nan_to_num(column - np.nanmean(column)) for column in (first, second))
    products = np.fft.irfft(np.conj(np.fft.rfft(x, size)) * np.fft.rfft(y, size), size)
    lags = np.arange(-most, most + 1)
    # without the division a long lag, which has fewer pairs, would look weaker than it is
    return int(lags[np.argmax(np.abs(products[lags]) / (len(first) - np.abs(lags)))])


def distance(first: Values, second: Values) -> float:
    """The largest difference of two empirical distribution functions (Kolmogorov 1933, Smirnov 1948), 0 to 1.

    Both sorted and without NaN.
    """
    at = np.concatenate([first, second])
    below = [np.searchsorted(values, at, side="right") / len(values) for values in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def usual_distance(train: Values, rows: int) -> float | None:
    """How far blocks of `rows` neighbouring train rows lie from the rest of train: the largest distance among them.

    Rows of a time series are not independent, so the textbook p-value of `distance` would call every difference
    significant; train's own blocks, as long as test, say what is usual here. None with fewer than two blocks.
    """
    count = len(train) // rows if rows else 0
    if count < 2:
        return None
    blocks = [part[~np.isnan(part)] for part in np.array_split(train, count)]
    distances = []
    for i, block in enumerate(blocks):
        rest = np.concatenate(blocks[:i] + blocks[i + 1 :])
        if len(block) and len(rest):
            distances.append(distance(np.sort(block), np.sort(rest)))
    return max(distances, default=None)


def thinned(column: Values, most: int = KS_ROWS) -> Values:
    """At most `most` rows, evenly spaced."""
    return column[:: max(1, -(-len(column) // most))]


def _moving_average(column: Values, window: int) -> Values:
    """Centred mean over `window` rows of which at least half were measured; NaN at the ends."""
    weights = np.ones(window) if window % 2 else np.concatenate([[0.5], np.ones(window - 1), [0.5]])
    half = len(weights) // 2
    averaged = np.full(len(column), np.nan)
    if len(column) <= 2 * half:
        return averaged
    present = (~np.isnan(column)).astype(np.float64)
    offset = float(np.nanmean(column)) if present.any() else 0.0
    sums, counts = (_windowed(part, weights) for part in (np.nan_to_num(column - offset), present))
    with np.errstate(invalid="ignore", divide="ignore"):
        averaged[half : len(column) - half] = np.where(counts >= weights.sum() / 2, sums / counts + offset, np.nan)
    return averaged


def _windowed(values: Values, weights: Values) -> Values:
    """Weighted sums over every whole window; the weights are 1 except at the two ends."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    width = len(weights)
    inner: Values = total[width:] - total[:-width]
    ends: Values = values[: len(values) - width + 1] + values[width - 1 :]
    return inner - (1.0 - float(weights[0])) * ends


def _phase_means(left: Values, phase: NDArray[np.intp], season: int) -> Values:
    present = ~np.isnan(left)
    counts = np.bincount(phase[present], minlength=season)
    sums = np.bincount(phase[present], weights=left[present], minlength=season)
    means = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    centred: Values = means - np.nanmean(means) if counts.any() else means
    return centred


def _strength(remainder: Values, whole: Values, taken: int, taken_before: int) -> float | None:
    if len(remainder) < FEWEST:
        return None
    before = float(np.var(whole)) / (len(whole) - taken_before)
    if before <= 0.0:
        return None
    return max(0.0, 1.0 - float(np.var(remainder)) / (len(remainder) - taken) / before)


def _padded(rows: int) -> int:
    return 1 << (rows - 1).bit_length()
