"""How often the gate errs where models are equally good, and how often it finds one that is better; by simulation.

Losses per row are AR(1) noise. The loss of a window is the mean over the rows of its horizon, so that neighbouring
windows overlap as real ones do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from flts.evaluate.look import level_of
from flts.evaluate.significance import ALPHA
from tests.bench.measure import Figure
from tests.support.simulated import Level, Scopes, adjusted_p_of_best, intervals_with_zero, origin_differences, p_values

SIZES = (  # origins, rows between two of them, horizon, persistences with a bar
    *((n, 1, horizon, (0.0, 0.5, 0.8)) for n in (500, 2000) for horizon in (1, 12, 24, 48)),
    (100, 1, 1, (0.0, 0.5)),
    (100, 6, 24, (0.0, 0.5, 0.8)),
    (100, 12, 48, (0.0, 0.5, 0.8)),
)
PERSISTENCES = (0.0, 0.5, 0.8, 0.95)
REPEATS = 4000
SCOPES: dict[str, Scopes] = {
    "21 days": Scopes(1000, spacing=1),
    "21 days, horizon 1, AR 0.8": Scopes(1000, spacing=1, horizon=1, persistence=0.8),
    "125 days": Scopes(500, spacing=6),
    "500 days": Scopes(200, spacing=24),
}
"""By span of their 500 windows."""
CORRELATION = 0.9
"""Of the errors of two models, for the size of a loss difference in standard deviations."""


def gate_size() -> Iterator[Figure]:
    """One test of two equal models, its interval, and Holm over five candidates: share of errors."""
    for n, spacing, horizon, barred in SIZES:
        drawn = {a: origin_differences(n, spacing, horizon, a, REPEATS, seed=11) for a in PERSISTENCES}
        sizes = [f"{np.mean(p_values(d, horizon, spacing) < ALPHA):.1%}" for d in drawn.values()]
        held = [f"{np.mean(intervals_with_zero(d, horizon, spacing)):.1%}" for d in drawn.values()]
        yield Figure(
            f"size of the gate, {n} windows {spacing} apart, horizon {horizon}, AR {PERSISTENCES}",
            ", ".join(sizes),
            f"at most 7 % up to AR {barred[-1]}",
            f"95 % intervals that hold the truth: {', '.join(held)}",
            "gate_size",
        )
    for horizon in (1, 24):
        d = origin_differences(500, 1, horizon, 0.5, 5 * REPEATS // 4, seed=12).reshape(-1, 5, 500)
        best = d.mean(axis=-1).argmin(axis=-1)
        unadjusted = np.take_along_axis(p_values(d, horizon, 1), best[:, None], -1)
        yield Figure(
            f"best of five equal candidates, 500 windows, horizon {horizon}, AR 0.5, promoted at 5 %",
            f"{np.mean(adjusted_p_of_best(d, horizon, 1) < ALPHA):.1%} by Holm",
            "at most 7 %",
            f"{np.mean(unadjusted < ALPHA):.1%} by its own p",
            "gate_size",
        )


def gate_looks() -> Iterator[Figure]:
    """Five equal families fitted again each day: share of the scopes with a promotion in 60 days and in a year."""
    others = {
        "125 days, champion chosen by hand": replace(SCOPES["125 days"], chosen=False),
        "125 days, a fifth of every fit is new": replace(SCOPES["125 days"], count=50, redrawn=0.2),
    }
    for name, scopes in {**SCOPES, **others}.items():
        found = scopes.promoted((60, 365), 13, RULES)
        yield Figure(
            f"equal models judged daily, windows over {name}: promoted in 60 days, a year",
            _shares(found.pop("in use")),
            "no bar" if name in others else "at most 7 %, 10 %",
            "; ".join(f"{rule} {_shares(shares)}" for rule, shares in found.items()),
            "gate_looks",
        )


def gate_power() -> Iterator[Figure]:
    """One family becomes better on day 1, 31 or 181: share of the scopes that promote within 60 days."""
    deviation = math.sqrt(1.0 - CORRELATION**2)  # of (e1² - e2²)/2 for normal errors of variance 1
    for name in ("21 days", "125 days"):
        for percent in (2, 5, 10):
            found: dict[str, list[float]] = {rule: [] for rule in RULES}
            for since in (1, 31, 181):
                scopes = replace(SCOPES[name], count=200, better=percent / 100 / deviation, since=since)
                for rule, shares in scopes.promoted((since + 59,), 14, RULES).items():
                    found[rule] += shares
            yield Figure(
                f"RMSE {percent} % lower from day 1, 31, 181 on, windows over {name}: promoted within 60 days",
                _shares(found.pop("in use")),
                "no bar",
                "; ".join(f"{rule} {_shares(shares)}" for rule, shares in found.items()),
                "gate_power",
            )


def _by_steps(spans: float) -> float:
    """α/(m·(m+1)) with m = 1 + ⌊spans⌋."""
    m = 1 + math.floor(spans)
    return ALPHA / (m * (m + 1))


RULES: dict[str, Level] = {"in use": level_of, "α/(m(m+1))": _by_steps, "always α": lambda _: ALPHA}


def _shares(shares: list[float]) -> str:
    return ", ".join(f"{share:.1%}" for share in shares)
