"""The step between two rows: a fixed duration, or a step of the calendar, whose length in hours differs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Unit = Literal["ns", "day", "business day", "month"]

SECOND = 10**9
HOUR, DAY = 3_600 * SECOND, 86_400 * SECOND
FIXED = {"h": HOUR, "min": 60 * SECOND, "s": SECOND, "ms": 10**6, "us": 10**3, "ns": 1}
"""Units of a fixed duration in nanoseconds, longest first."""
CALENDAR: dict[str, tuple[Unit, int]] = {
    "y": ("month", 12),
    "mo": ("month", 1),
    "w": ("day", 7),
    "d": ("day", 1),
    "bd": ("business day", 1),
}
"""Units of the calendar, longest first."""
MOST = {"ns": 3650 * DAY, "day": 3650, "business day": 1, "month": 120}
"""Longest step of each unit: ten years, and one business day."""


@dataclass(frozen=True)
class Step:
    """`count` units: nanoseconds, calendar days, days from Monday to Friday, or months."""

    count: int
    unit: Unit

    @classmethod
    def parse(cls, text: str) -> Step:
        """A step such as '15min', '1h', '1d', '1w', '1bd', '1mo', '3mo' or '1y'. Raises ValueError that says what fits.

        '24h' is a fixed duration; '1d' is a day of the calendar, which has 23 or 25 hours when the clock changes.
        """
        match = re.fullmatch(r"([1-9][0-9]*)([a-z]+)", text)
        if match is None or match[2] not in {**FIXED, **CALENDAR}:
            raise ValueError(
                f"'{text}' is not a step; write 'infer' or a whole number with a unit, such as '2min', '1h', '1d',"
                " '1w', '1bd' (Monday to Friday), '1mo', '3mo' or '1y'"
            )
        count, unit = int(match[1]), match[2]
        step = cls(count * FIXED[unit], "ns") if unit in FIXED else cls(count * CALENDAR[unit][1], CALENDAR[unit][0])
        if step.count > MOST[step.unit]:
            longest = cls(MOST[step.unit], step.unit)
            raise ValueError(f"the step '{text}' is too long; the longest with this unit is '{longest}'")
        return step

    def __str__(self) -> str:
        """The one way to write it: '1h' for 60 minutes, '1w' for 7 days, '1y' for 12 months."""
        units = (
            FIXED.items()
            if self.unit == "ns"
            else ((name, size) for name, (kind, size) in CALENDAR.items() if kind == self.unit)
        )
        name, size = next((name, size) for name, size in units if self.count % size == 0)
        return f"{self.count // size}{name}"

    @property
    def fixed(self) -> bool:
        """Whether every step has the same duration."""
        return self.unit == "ns"

    @property
    def on_clock(self) -> int:
        """Nanoseconds from one row to the next on the clock that the step follows; 0 where they differ."""
        return {"ns": self.count, "day": self.count * DAY}.get(self.unit, 0)

    def lasting(self, count: int) -> int:
        """Nanoseconds of so many usual steps."""
        return count * self.nanoseconds

    def units(self, count: int) -> int:
        """So many steps in its unit, such as months."""
        return count * self.count

    def part(self, share: float) -> int:
        """Nanoseconds of this share of a usual step."""
        return int(share * self.nanoseconds)

    @property
    def nanoseconds(self) -> int:
        """Its usual duration: a month counts as 365.2425 / 12 days, a business day as one day."""
        unit = {"ns": 1, "day": DAY, "business day": DAY, "month": round(365.2425 / 12 * DAY)}
        return self.count * unit[self.unit]
