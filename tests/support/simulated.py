"""Many scopes at once, to measure how often a rule errs: losses by row, means over windows, and the test of the gate.

The arithmetic is that of `evaluate.significance`, for all series of an array at once; a unit test compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flts.evaluate.significance import degrees_of_freedom, overlap
from flts.evaluate.student import student_t_critical

Series = NDArray[np.float64]
Level = Callable[[float], float]
"""Level of a look by the spans since the champion was chosen."""
Shares = dict[str, list[float]]


def autoregressive(rng: np.random.Generator, shape: tuple[int, ...], persistence: float) -> Series:
    """Stationary AR(1) noise of variance 1 along the last axis."""
    noise = rng.standard_normal(shape)
    noise[..., 1:] *= math.sqrt(1.0 - persistence**2)
    for row in range(1, shape[-1]) if persistence else ():
        noise[..., row] += persistence * noise[..., row - 1]
    return noise


def over_windows(rows: Series, starts: NDArray[np.int64], horizon: int) -> Series:
    """Means over the horizon from each start, [..., origins], of values by row, [..., rows]."""
    cumulated = np.concatenate([np.zeros((*rows.shape[:-1], 1)), np.cumsum(rows, axis=-1)], axis=-1)
    means: Series = (cumulated[..., starts + horizon] - cumulated[..., starts]) / horizon
    return means


def origin_differences(n: int, spacing: int, horizon: int, persistence: float, repeats: int, seed: int) -> Series:
    """Loss differences of two equal models, [repeats, n]: means over the horizon of AR(1) noise per row."""
    rows = autoregressive(np.random.default_rng(seed), (repeats, (n - 1) * spacing + horizon), persistence)
    return over_windows(rows, spacing * np.arange(n), horizon)


def statistics(d: Series, horizon: int, spacing: float) -> tuple[Series, int]:
    """Mean ÷ standard error of each series d [..., n], and the degrees of freedom."""
    n = d.shape[-1]
    degrees = degrees_of_freedom(n, overlap(horizon, spacing))
    cosines = np.cos(np.pi * np.outer(np.arange(1, degrees + 1), np.arange(n) + 0.5) / n) * math.sqrt(2.0 / n)
    variance = ((d @ cosines.T) ** 2).mean(axis=-1)
    found: Series = math.sqrt(n) * d.mean(axis=-1) / np.sqrt(variance)
    return found, degrees


def p_values(d: Series, horizon: int, spacing: float) -> Series:
    """One-sided p of a mean below zero for each series d [..., n]."""
    from scipy.stats import t

    found: Series = t.cdf(*statistics(d, horizon, spacing))
    return found


def intervals_with_zero(d: Series, horizon: int, spacing: float) -> NDArray[np.bool_]:
    """Whether the 95 % interval of the mean of each series d [..., n] holds zero."""
    found, degrees = statistics(d, horizon, spacing)
    held: NDArray[np.bool_] = np.abs(found) <= student_t_critical(0.025, degrees)
    return held


def adjusted_p_of_best(d: Series, horizon: int, spacing: float) -> Series:
    """Holm's adjusted p of the candidate with the lowest mean, [...], of differences d [..., candidates, n]."""
    p, best = p_values(d, horizon, spacing), d.mean(axis=-1).argmin(axis=-1)
    order = np.argsort(p, axis=-1)
    weights = np.arange(p.shape[-1], 0, -1)
    adjusted = np.minimum(1.0, np.maximum.accumulate(np.take_along_axis(p, order, -1) * weights, axis=-1))
    rank = np.argsort(order, axis=-1)
    found: Series = np.take_along_axis(np.take_along_axis(adjusted, rank, -1), best[..., None], -1)[..., 0]
    return found


@dataclass(frozen=True)
class Scopes:
    """Scopes that are judged every day: hourly rows, k families that are fitted again each day, equally good.

    The champion is the best of the k on day 0, or any of them with chosen = False. Its candidates are the other
    families, and its own family fitted again, whose loss differs a third as much. persistence: of the losses per row;
    redrawn: share of the variance of a difference that each fit draws anew, the rest stays as it was; better: the first
    candidate has a mean loss lower by so many standard deviations of a difference, from day `since` on.
    """

    count: int
    families: int = 5
    windows: int = 500
    spacing: int = 6
    horizon: int = 24
    persistence: float = 0.5
    chosen: bool = True
    redrawn: float = 0.0
    better: float = 0.0
    since: int = 1

    @property
    def span(self) -> int:
        """Rows between the first and the last origin."""
        return (self.windows - 1) * self.spacing

    def looks(self, days: int, seed: int) -> Iterator[tuple[float, Series]]:
        """Every day: the spans since day 0, and the adjusted p of the best-ranked candidate [scopes]."""
        rng = np.random.default_rng(seed)
        rows = self.span + self.horizon + 24 * days
        losses = autoregressive(rng, (self.count, self.families, rows), self.persistence)
        if self.chosen:
            best = losses[..., : self.span + self.horizon].mean(axis=-1).argmin(axis=-1)
            everyone = np.arange(self.count)
            losses[:, 0], losses[everyone, best] = losses[everyone, best], losses[:, 0].copy()
        again = autoregressive(rng, (self.count, 1, rows), self.persistence) / 3.0
        d = np.concatenate([(losses[:, 1:] - losses[:, :1]) / math.sqrt(2.0), again], axis=1)
        by_start = over_windows(d, np.arange(rows - self.horizon + 1), self.horizon)
        at = self.spacing * np.arange(self.windows)
        for day in range(1, days + 1):
            seen = by_start[..., 24 * day + at]
            if self.redrawn:
                fresh = autoregressive(rng, (*d.shape[:2], self.span + self.horizon), self.persistence)
                fresh[:, -1] /= 3.0
                seen *= math.sqrt(1.0 - self.redrawn)
                seen += math.sqrt(self.redrawn) * over_windows(fresh, at, self.horizon)
            if day >= self.since:
                seen[:, 0] -= self.better
            yield 24 * day / self.span, adjusted_p_of_best(seen, self.horizon, self.spacing)

    def promoted(self, days: Sequence[int], seed: int, levels: Mapping[str, Level], batch: int = 50) -> Shares:
        """Share of the scopes with a promotion from day `since` up to each of these days, under each rule of levels."""
        hits: dict[str, list[NDArray[np.bool_]]] = {rule: [] for rule in levels}
        for first in range(0, self.count, batch):
            some = replace(self, count=min(batch, self.count - first))
            p, spans = np.empty((max(days), some.count)), np.empty(max(days))
            for day, (moved, found) in enumerate(some.looks(max(days), seed + first)):
                p[day], spans[day] = found, moved
            for rule, level in levels.items():
                passed = p < np.array([level(moved) for moved in spans])[:, None]
                passed[: self.since - 1] = False
                hits[rule].append(np.array([passed[:day].any(axis=0) for day in days]))
        return {rule: np.concatenate(found, axis=1).mean(axis=1).tolist() for rule, found in hits.items()}
