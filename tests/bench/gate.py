"""How often the gate calls one of two equal models better: its size under the null, by simulation.

Per row the difference of the losses is AR(1) noise around zero; the difference of an origin is its mean over the rows
of the horizon, so neighbouring origins overlap as real ones do. Beside the test in use stands a possible
replacement: equal-weighted cosines with fixed-b critical values (Lazarus, Lewis, Stock and Watson 2018).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flts.evaluate.significance import ALPHA, better, diebold_mariano, student_t_cdf
from tests.bench.measure import Figure

CASES = (  # origins, rows between two of them, horizon
    (500, 1, 1),
    (500, 1, 12),
    (500, 1, 24),
    (500, 1, 48),
    (100, 1, 1),
    (100, 6, 24),
)
PERSISTENCE = (0.0, 0.5, 0.8)
REPEATS = 2000

Series = NDArray[np.float64]


def gate_size() -> Iterator[Figure]:
    """Share of one-sided rejections at 5 %, for the test in use and for equal-weighted cosines."""
    for n, spacing, horizon in CASES:
        sizes: dict[str, list[str]] = {"in use": [], "cosines": []}
        for persistence in PERSISTENCE:
            d = origin_differences(n, spacing, horizon, persistence, REPEATS, seed=11)
            sizes["in use"].append(f"{np.mean([_in_use(row, horizon, spacing) for row in d]):.1%}")
            sizes["cosines"].append(f"{np.mean(cosine_p_values(d, horizon, spacing) < ALPHA):.1%}")
        yield Figure(
            f"size of the gate, {n} origins {spacing} apart, horizon {horizon}, AR {PERSISTENCE}",
            ", ".join(sizes["in use"]),
            "5 %",
            f"equal-weighted cosines {', '.join(sizes['cosines'])}",
            "gate_size",
        )


def origin_differences(n: int, spacing: int, horizon: int, persistence: float, repeats: int, seed: int) -> Series:
    """Loss differences of two equal models, [repeats, n]: means over the horizon of AR(1) noise per row."""
    rng = np.random.default_rng(seed)
    rows = (n - 1) * spacing + horizon
    noise = rng.standard_normal((repeats, rows))
    for row in range(1, rows):
        noise[:, row] += persistence * noise[:, row - 1]
    cumulated = np.concatenate([np.zeros((repeats, 1)), np.cumsum(noise, axis=1)], axis=1)
    starts = spacing * np.arange(n)
    means: Series = (cumulated[:, starts + horizon] - cumulated[:, starts]) / horizon
    return means


def cosine_p_values(d: Series, horizon: int, spacing: int) -> Series:
    """One-sided p of mean(d) < 0, [repeats]: t of B degrees over B cosine transforms of d, [repeats, n]."""
    n = d.shape[1]
    count = int(min(0.41 * n ** (2 / 3), n / (2 * math.ceil(horizon / spacing))))
    moments = np.cos(np.pi * np.outer(np.arange(1, count + 1), np.arange(n) + 0.5) / n) * math.sqrt(2.0 / n)
    variance = ((d @ moments.T) ** 2).mean(axis=1)
    statistics = math.sqrt(n) * d.mean(axis=1) / np.sqrt(variance)
    return np.array([student_t_cdf(float(t), count) for t in statistics])


def _in_use(d: Series, horizon: int, spacing: int) -> bool:
    return better(diebold_mariano(d, np.zeros_like(d), horizon, float(spacing)))
