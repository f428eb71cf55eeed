"""Several levels and quantiles at once: which there are, and the columns that they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flts.contracts.errors import UsageError
from flts.forecasting.answers import Interval
from flts.forecasting.intervals import LEVELS
from flts.preprocess.rows import Values

Levels = float | Sequence[float]
"""One level, or several."""
ENDS = ("lower", "upper")
_OF_QUANTILE: Mapping[float, float | None] = {
    0.5: None,
    **{round((1.0 - level) / 2.0, 4): level for level in LEVELS},
    **{round((1.0 + level) / 2.0, 4): level for level in LEVELS},
}
"""The level whose interval ends at a quantile. An interval lies around the forecast, which stands for the middle."""


def several(level: Levels) -> tuple[float, ...]:
    """The levels, each once, in their order."""
    return tuple(dict.fromkeys([level] if isinstance(level, int | float) else level))


def refuse_unknown(levels: Sequence[float], quantiles: Sequence[float] = ()) -> None:
    """Raise UsageError for a level that has no intervals, and for a quantile at which no interval ends."""
    for kind, asked, valid in (("level", levels, LEVELS), ("quantile", quantiles, sorted(_OF_QUANTILE))):
        for one in asked:
            if one not in valid:
                offered = [f"{value:g}" for value in valid]
                raise UsageError(
                    f"{kind} {one:g} is not available; valid: {', '.join(offered)}",
                    code=f"unknown-{kind}",
                    found=one,
                    valid=offered,
                )


def needed(level: Levels, quantiles: Sequence[float]) -> tuple[float, ...]:
    """Every level whose interval is asked for, or ends at a quantile that is."""
    of_quantiles = (_OF_QUANTILE[quantile] for quantile in quantiles)
    return tuple(dict.fromkeys([*several(level), *(of_one for of_one in of_quantiles if of_one is not None)]))


def of_levels(intervals: Mapping[float, Interval], levels: Sequence[float]) -> dict[str, Values]:
    """The ends of several intervals as columns: lower_50, upper_50 and so on."""
    ends = [(f"{name}_{_percent(level)}", intervals[level][at]) for level in levels for at, name in enumerate(ENDS)]
    return dict(ends)


def of_quantiles(mean: Values, intervals: Mapping[float, Interval], quantiles: Sequence[float]) -> dict[str, Values]:
    """Quantiles as columns: q10 for 0.1. The forecast stands for the middle of its interval."""
    found = {}
    for quantile in quantiles:
        level = _OF_QUANTILE[quantile]
        found[f"q{_percent(quantile)}"] = mean if level is None else intervals[level][int(quantile > 0.5)]
    return found


def _percent(share: float) -> str:
    return f"{share * 100:g}"
