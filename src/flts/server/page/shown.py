"""How the page shows times, durations and numbers, so that a column of them is aligned."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from flts.spec.steps import DAY, FIXED, SECOND, Step

MOST_DECIMALS = 9
DURATIONS = (("week", 7 * DAY), ("day", DAY), ("hour", FIXED["h"]), ("minute", FIXED["min"]), ("second", SECOND))
"""Longest first."""


@dataclass(frozen=True)
class Moment:
    """A time for people and, in `machine`, for programs (RFC 3339)."""

    text: str
    machine: str


def moment(iso: str) -> Moment:
    """A stored time in UTC, to the minute."""
    return _moment(datetime.fromisoformat(iso).astimezone(UTC))


def moment_of(seconds: float) -> Moment:
    """Seconds since 1970 in UTC, to the minute."""
    return _moment(datetime.fromtimestamp(seconds, UTC))


def _moment(time: datetime) -> Moment:
    return Moment(f"{time.day} {time:%b %Y, %H:%M} UTC", time.isoformat(timespec="seconds"))


def ago(iso: str, now: float) -> str:
    """How long ago a stored time was, in one or two words."""
    seconds = int(now - datetime.fromisoformat(iso).timestamp())
    name, size = next((found for found in DURATIONS[1:] if seconds * SECOND >= found[1]), DURATIONS[-1])
    count = max(0, seconds * SECOND // size)
    return f"{counted(count, name)} ago"


def counted(count: int, word: str) -> str:
    """A number with its word."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def lasting(rows: int, step: Step) -> str:
    """How long so many steps are: '24 hours' for 24 steps of 1h is '1 day'."""
    match step.unit:
        case "month":
            months = step.units(rows)
            return counted(months // 12, "year") if months % 12 == 0 else counted(months, "month")
        case "business day":
            return counted(rows, "business day")
    nanoseconds = step.lasting(rows)
    name, size = next(((name, size) for name, size in DURATIONS if nanoseconds % size == 0), ("", 0))
    return counted(nanoseconds // size, name) if size else f"{rows:,} steps of {step}"


def local_times(nanoseconds: Sequence[int], zone: str) -> list[str]:
    """UTC ns as local times of a zone: only the parts that differ from midnight anywhere, so that all are alike."""
    times = [datetime.fromtimestamp(at // SECOND, ZoneInfo(zone)) for at in nanoseconds]
    form = "%Y-%m-%d"
    if any(time.hour or time.minute or time.second for time in times):
        form += " %H:%M:%S" if any(time.second for time in times) else " %H:%M"
    return [time.strftime(form) for time in times]


def decimals(values: Iterable[float | None]) -> int:
    """As many as a column needs to show three digits of the range of its values."""
    measured = [value for value in values if value is not None and math.isfinite(value)]
    if not measured:
        return 0
    width = max(measured) - min(measured) or abs(measured[0])
    if all(value == int(value) for value in measured if abs(value) < 1e15) and width >= 1:
        return 0
    return max(0, min(MOST_DECIMALS, 2 - math.floor(math.log10(width)))) if width else 0


def aligned(value: float | None, places: int) -> str:
    """A number with so many decimals; empty where there is none."""
    if value is None or not math.isfinite(value):
        return ""
    return f"{value:.{places}f}" if abs(value) < 1e15 else f"{value:.6e}"


def percent(share: float) -> str:
    """A share without its sign."""
    return f"{abs(share):.1%}".replace("%", " %")
