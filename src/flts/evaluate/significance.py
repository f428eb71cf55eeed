"""Whether a mean over origins is more than noise: a t test whose variance knows that origins are not independent.

Losses of neighbouring origins are correlated: their horizons overlap, and the series is smooth. The variance of a mean
is therefore the average of the squares of B cosine transforms of the sequence, the slowest ones. They see how the mean
of a long stretch varies, and are nearly independent, so that mean ÷ standard error has Student's t distribution with B
degrees of freedom (Lazarus, Lewis, Stock and Watson 2018, "HAR inference: recommendations for practice").
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from flts.contracts.records.decision import DifferenceTest, Interval
from flts.evaluate.student import student_t_cdf, student_t_critical
from flts.preprocess.rows import Values

ALPHA = 0.05
SHARE = 0.41
"""B per n^⅔ of n origins, as the authors recommend for a test at 5 %."""
FEWEST = 4
"""Fewer degrees of freedom than this give no answer."""
ROUNDINGS = 16


@dataclass(frozen=True)
class Mean:
    """A mean over n origins with its standard error; the reason where that is unknown, or zero."""

    n: int
    value: float | None
    degrees: int
    error: float | None
    reason: str | None

    def interval(self) -> Interval | None:
        """The 95 % confidence interval."""
        if self.value is None or self.error is None:
            return None
        reach = student_t_critical(0.025, self.degrees) * self.error
        return Interval(low=self.value - reach, high=self.value + reach)

    def smallest(self, level: float) -> float | None:
        """The smallest value that a one-sided test at this level tells from zero; None where there is no test."""
        return student_t_critical(level, self.degrees) * self.error if self.error else None

    def test(self) -> DifferenceTest:
        """The one-sided test of a mean below zero."""
        statistic = p = None
        if self.value is not None and self.error:
            statistic = self.value / self.error
            p = student_t_cdf(statistic, self.degrees)
        return DifferenceTest(
            n=self.n,
            mean_difference=self.value,
            degrees=self.degrees,
            standard_error=self.error,
            statistic=statistic,
            p=p,
            adjusted_p=None,
            reason=self.reason,
        )


def overlap(horizon: int, spacing: float) -> int:
    """How many neighbouring origins share forecast steps: ⌈horizon ÷ spacing⌉."""
    return math.ceil(horizon / spacing)


def windows_needed(overlapping: int) -> int:
    """The fewest origins for which there are enough degrees of freedom."""
    return max(math.ceil(math.pow(FEWEST / SHARE, 1.5)), 2 * FEWEST * overlapping)


def degrees_of_freedom(n: int, overlapping: int) -> int:
    """B = min(0.41·n^⅔, n ÷ (2·overlapping)), rounded down: no cosine is faster than the horizons that overlap."""
    return math.floor(min(SHARE * math.pow(n, 2.0 / 3.0), n / (2 * overlapping)))


def mean_of(first: Values, second: Values, overlapping: int) -> Mean:
    """Mean of first - second over origins in order of time [origins], with its standard error.

    Two arguments, because the size of both says which variance is nothing but rounding.
    """
    n, degrees = len(first), degrees_of_freedom(len(first), overlapping)
    d = first - second
    value = math.fsum(d.tolist()) / n if n else None
    if value is None or degrees < FEWEST:
        reason = f"{n} windows are too few, the test needs at least {windows_needed(overlapping)}"
        return Mean(n, value, degrees, None, reason)
    variance = math.fsum((_cosines(d - value, degrees) ** 2).tolist()) / degrees
    # equal differences leave a rounding error in the mean, which must not count as a very small variance
    rounding = ROUNDINGS * np.finfo(float).eps * max(np.abs(first).max(), np.abs(second).max())
    if variance <= rounding**2:
        return Mean(n, value, degrees, 0.0, "the differences of the losses have no variance")
    return Mean(n, value, degrees, math.sqrt(variance / n), None)


def _cosines(d: Values, count: int) -> Values:
    """√(2/n)·Σ_t d_t·cos(πk(t + ½)/n) for k = 1 … count, through one Fourier transform (Makhoul 1980)."""
    n = len(d)
    spectrum = np.fft.fft(np.concatenate([d[::2], d[1::2][::-1]]))[1 : count + 1]
    turned: Values = (spectrum * np.exp(-0.5j * np.pi * np.arange(1, count + 1) / n)).real
    return math.sqrt(2.0 / n) * turned
