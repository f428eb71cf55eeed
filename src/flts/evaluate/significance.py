"""Whether a difference is more than noise: the Diebold-Mariano test and a moving-block bootstrap.

Losses of neighbouring origins are correlated (their horizons overlap, the series is smooth), so neither method treats
them as independent draws.
"""

from __future__ import annotations

import math

import numpy as np

from flts.contracts.records.decision import DieboldMariano, Interval
from flts.preprocess.rows import Values

ALPHA = 0.05
RESAMPLES = 1000
MIN_ORIGINS = 30
ROUNDINGS = 16


def overlap(horizon: int, spacing: float) -> int:
    """How many neighbouring origins share forecast steps: ⌈horizon ÷ spacing⌉."""
    return math.ceil(horizon / spacing)


def diebold_mariano(first: Values, second: Values, horizon: int, spacing: float) -> DieboldMariano:
    """Compare losses per origin [origins], NaN where not scored (Diebold and Mariano 1995).

    d = first - second; variance with Bartlett weights up to lag max(h-1, ⌊n^⅓⌋) (Newey and West 1987); small-sample
    factor √((n+1-2h+h(h-1)/n)/n) and Student's t with n-1 degrees (Harvey, Leybourne and Newbold 1997).
    """
    d = first - second
    scored = ~np.isnan(d)
    d = d[scored]
    n, h = len(d), overlap(horizon, spacing)
    mean = math.fsum(d.tolist()) / n if n else None

    def no_answer(reason: str, lag: int | None = None) -> DieboldMariano:
        return DieboldMariano(n=n, mean_difference=mean, overlap=h, lag=lag, statistic=None, p=None, reason=reason)

    if mean is None or n < max(MIN_ORIGINS, 3 * h):
        return no_answer(f"{n} windows are too few, the test needs at least {max(MIN_ORIGINS, 3 * h)}")
    lag = max(h - 1, int(np.floor(np.cbrt(n) + 1e-9)))
    variance = _long_run_variance(d - mean, lag) / n
    # equal differences leave a rounding error in the mean, which must not count as a very small variance
    rounding = ROUNDINGS * np.finfo(float).eps * max(np.abs(first[scored]).max(), np.abs(second[scored]).max())
    if variance <= rounding**2 / n:
        return no_answer("the differences of the losses have no variance", lag)
    factor = math.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    statistic = factor * mean / math.sqrt(variance)
    p = student_t_cdf(statistic, n - 1)
    return DieboldMariano(n=n, mean_difference=mean, overlap=h, lag=lag, statistic=statistic, p=p, reason=None)


def better(test: DieboldMariano) -> bool:
    """Whether the first has the smaller loss at the level ALPHA."""
    return test.p is not None and test.p < ALPHA and (test.mean_difference or 0.0) < 0.0


def _long_run_variance(centred: Values, lag: int) -> float:
    n = len(centred)
    covariances = [math.fsum((centred[k:] * centred[: n - k]).tolist()) / n for k in range(lag + 1)]
    return covariances[0] + 2.0 * math.fsum((1.0 - k / (lag + 1)) * covariances[k] for k in range(1, lag + 1))


def percentile_interval(samples: Values) -> Interval:
    """The 2.5th and 97.5th percentile of a resampled statistic [resamples]."""
    low, high = np.quantile(samples, [0.025, 0.975])
    return Interval(low=float(low), high=float(high))


def block_length(origins: int, overlapping: int) -> int:
    """Neighbouring origins that are drawn together: at least those that share forecast steps, and ⌈n^⅓⌉."""
    return max(overlapping, math.ceil(float(np.cbrt(origins)) - 1e-9))


def resampled_sums(sums: Values, overlapping: int, seed: int) -> Values | None:
    """Sums over resampled origins [resamples, columns] of contributions per origin [origins, columns].

    Moving blocks of neighbouring origins are drawn with replacement (Künsch 1989), the same blocks for every column,
    so that statistics of different columns can be compared. None with fewer than three blocks.
    """
    n = len(sums)
    block = block_length(n, overlapping)
    if n < 3 * block:
        return None
    count = math.ceil(n / block)
    starts = np.random.default_rng(seed).integers(n - block + 1, size=(RESAMPLES, count))
    cumulated = np.vstack([np.zeros(sums.shape[1]), np.cumsum(sums, axis=0)])
    drawn: Values = (cumulated[starts + block] - cumulated[starts]).sum(axis=1)
    return drawn


def student_t_cdf(t: float, degrees: int) -> float:
    """P(T ≤ t) through the regularised incomplete beta function (Abramowitz and Stegun 26.7.1)."""
    square = t * t
    tail = 0.5 * _incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + square), square / (degrees + square))
    return tail if t < 0.0 else 1.0 - tail


def _incomplete_beta(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b), from the side on which its continued fraction converges fast.

    rest: 1 - x, handed over because the subtraction has no digits left where x is close to one.
    """
    if x == 0.0 or rest == 0.0:
        return 0.0 if x == 0.0 else 1.0
    if x > (a + 1.0) / (a + b + 2.0):
        return 1.0 - _continued_fraction(b, a, rest, x)
    return _continued_fraction(a, b, x, rest)


def _continued_fraction(a: float, b: float, x: float, rest: float) -> float:
    """I_x(a, b) for x up to (a+1)/(a+b+2) (Abramowitz and Stegun 26.5.8), by Lentz's method.

    Up to there no denominator comes near zero (the first is at least 2/(a+b+2)), so that Lentz's guard against a zero
    is not needed.
    """
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    c, d = 1.0, 1.0 / (1.0 - (a + b) * x / (a + 1.0))
    fraction = d
    for m in range(1, 1000):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        for term in (even, odd):
            d = 1.0 / (1.0 + term * d)
            c = 1.0 + term / c
            fraction *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return front * fraction / a
