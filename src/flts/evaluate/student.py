"""Student's t distribution: its distribution function and the values that it exceeds with a small probability."""

from __future__ import annotations

import math
from functools import lru_cache


@lru_cache(maxsize=1024)
def student_t_critical(tail: float, degrees: int) -> float:
    """The t that is exceeded with this probability, below one half; by bisection to the last bit."""
    low, high = 0.0, 1.0
    while student_t_cdf(-high, degrees) > tail:
        low, high = high, 2.0 * high
    while low < (middle := (low + high) / 2.0) < high:
        if student_t_cdf(-middle, degrees) > tail:
            low = middle
        else:
            high = middle
    return high


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
