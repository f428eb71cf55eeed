"""How far ahead a person would forecast: a day of hours, a month of days, eight weeks, a year of months."""

from __future__ import annotations

from flts.spec.steps import DAY, HOUR, Step

UNITS = {
    "ns": {"one minute": HOUR // 60, "one hour": HOUR, "six hours": 6 * HOUR, "one day": DAY, "one week": 7 * DAY},
    "day": {"one week": 7, "four weeks": 28, "30 days": 30, "eight weeks": 56},
    "business day": {"one week": 5, "four weeks": 20},
    "month": {"six months": 6, "one year": 12},
}
"""Horizons that people choose, for each unit of a step and counted in it."""
LONGEST_HORIZON = 96
"""Rows of the longest horizon to suggest: a day of quarter hours."""
FEWEST = 2


def natural_horizon(step: Step, most: int) -> tuple[int, str]:
    """Rows of the longest usual horizon of a step that has at most so many, and its name; 1 and no name without one."""
    rows = {unit: size // step.count for unit, size in UNITS[step.unit].items() if size % step.count == 0}
    if rows.get("one day", 0) >= FEWEST:
        rows.pop("one week", None)
    if step.unit == "day" and step.count == 1:  # who counts days thinks of a month
        rows.pop("eight weeks")
    fitting = [(count, unit) for unit, count in rows.items() if FEWEST <= count <= min(most, LONGEST_HORIZON)]
    return max(fitting, default=(1, ""))
