"""Which grid the train rows lie on: their step, whether it follows the local clock, and the time that rows carry."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError
from flts.preprocess.grid import MONDAY, Grid, wall_time
from flts.preprocess.rows import Times
from flts.spec.fields import ResampleRule
from flts.spec.steps import DAY, HOUR, SECOND, Step

TOLERANCE = 0.05
"""Share of a step by which a row may be off its time: loggers are late by seconds, and clocks by milliseconds."""
NEAR = 0.01
"""Share of a step by which the middle difference of rows may be off from it."""
SLACK = 60 * SECOND
"""Two clocks are kept equally well where the rows are off by the same number of minutes."""
WEEKEND = 4
"""Days into a month, or before its end, in which its first or last business day lies: a weekend and a holiday."""
MOST, HALF = 0.9, 0.5
"""Share of the rows that follow a rule for it to be the rule of all: of every kind of row, and of exact times."""
PLAIN = tuple(
    Step.parse(text)
    for text in (
        *("1ms", "10ms", "100ms", "1s", "2s", "5s", "10s", "15s", "20s", "30s", "1min", "2min", "3min", "5min"),
        *("10min", "15min", "20min", "30min", "1h", "2h", "3h", "4h", "6h", "8h", "12h"),
    )
)
"""Fixed steps that divide a day, as people and loggers choose them."""
ROUND = (
    HOUR,
    900 * SECOND,
    300 * SECOND,
    60 * SECOND,
    10 * SECOND,
    SECOND,
    SECOND // 10,
    SECOND // 100,
    SECOND // 1000,
)


def infer_grid(times: Times, step: str, timezone: str, rule: ResampleRule, name: str) -> Grid:
    """The grid of sorted train rows with these times (UTC ns).

    step: as the Spec has it; rule: how several rows of one step become one, "off" where each row has a step of its own;
    name: what messages call the table. Raises DataError for fewer than two rows without a step.
    """
    known = infer_step(times, timezone, name) if step == "infer" else Step.parse(step)
    dense = rule != "off" and len(times) > 1 and float(np.median(np.diff(times))) <= known.nanoseconds / 2
    tolerance = 0 if dense else known.part(TOLERANCE)
    grids = [stamped(times, known, timezone, local, tolerance, dense) for local in _clocks(known, timezone)]
    if len(grids) == 1 or dense:
        return grids[0]
    return max(grids, key=lambda grid: _kept(grid, times))


def _kept(grid: Grid, times: Times) -> tuple[float, float, bool]:
    """How well rows keep a clock: the share on the grid, how exactly, and whether they are at the start of a step."""
    off = grid.nearest(times)[1]
    return round(float(np.mean(off <= grid.tolerance)), 2), -round(float(np.mean(off)) / SLACK), grid.phase == 0


def infer_step(times: Times, timezone: str, name: str) -> Step:
    """The step of sorted rows with these times (UTC ns); `name` is what messages call the table.

    Raises DataError for fewer than two rows.
    """
    if len(times) < 2:
        raise DataError(
            f"{name}: the step cannot be inferred from {len(times)} row; at least two rows are needed",
            code="too-few-rows",
            file=name,
            found=len(times),
            expected=2,
        )
    steps = [_calendar_step(wall_time(times, clock)) for clock in dict.fromkeys((timezone, "UTC"))]
    found = sorted((step for step in steps if step), key=lambda step: step.unit == "day")
    if found:  # business days of UTC look like days from Sunday on a clock to the west
        return found[0]
    differences, counts = np.unique(np.diff(times), return_counts=True)
    differences, counts = differences[differences > 0], counts[differences > 0]
    if not len(differences):
        raise DataError(f"{name}: all rows have the same time", code="one-time", file=name)
    usual = Step(int(differences[np.argmax(counts)]), "ns")  # the smaller on a tie
    middle = float(np.median(np.repeat(differences, counts)))
    near = [step for step in PLAIN if abs(step.count - middle) <= step.part(NEAR)]
    smallest = Step(int(differences[0]), "ns")  # where most rows are absent, few are one step apart
    common = counts.max() >= HALF * counts.sum()
    candidates = [*([usual] if common else []), *near, usual]
    candidates += [smallest] if not (differences % smallest.count).any() else []
    return next((step for step in candidates if _share(_stamped_evenly(times, step), times) >= MOST), usual)


def infer_seasons(grid: Grid, rows: int) -> list[int]:
    """Season lengths in steps, shortest first, of which train holds two: day, week and year as the step has them."""
    step = grid.step
    match step.unit:
        case "ns":
            lengths = [cycle // step.count for cycle in (DAY, 7 * DAY) if cycle % step.count == 0]
        case "day":
            lengths = {1: [7, 365], 7: [52]}.get(step.count, [])
        case "business day":
            lengths = [5]
        case _:
            lengths = [12 // step.count] if 12 % step.count == 0 else []
    return [length for length in lengths if 2 <= length <= rows // 2]


def follows_clocks(step: Step) -> bool:
    """Whether a step can follow a local clock: days and longer ones of the calendar, and several hours."""
    return not step.fixed or (HOUR < step.count < DAY and DAY % step.count == 0)


def _clocks(step: Step, timezone: str) -> Iterator[bool]:
    """Whether a step can follow the local clock, and whether it can follow UTC; local first."""
    if timezone != "UTC" and follows_clocks(step):
        yield True
    yield False


def stamped(times: Times, step: Step, timezone: str, local: bool, tolerance: int, dense: bool) -> Grid:
    """The grid of this step and clock that these rows lie on best.

    dense: several rows share a step, so their times do not say where it starts.
    """
    clock = wall_time(times, timezone) if local else times
    if dense:  # steps start at full hours, days and months of the zone
        phase = 0 if local or timezone == "UTC" or not step.fixed else _before_midnight(times, timezone, step.count)
        return Grid(step, timezone, local, phase)
    if step.unit == "month":
        phase, first, one_day = _phase_of_months(clock, step.count)
        return Grid(step, timezone, local, phase, first, tolerance if one_day else max(tolerance, WEEKEND * DAY))
    return Grid(step, timezone, local, _phase(clock, step.on_clock or DAY), 0, tolerance)


def _stamped_evenly(times: Times, step: Step) -> Grid:
    return Grid(step, "UTC", False, _phase(times, step.count), 0, step.part(TOLERANCE))


def _share(grid: Grid, times: Times) -> float:
    """Share of the rows within the tolerance of a time of the grid."""
    return float(np.mean(grid.nearest(times)[1] <= grid.tolerance))


def _before_midnight(times: Times, timezone: str, size: int) -> int:
    """The phase of a fixed step that starts at midnight, in zones that are half an hour off as well."""
    ahead = int(wall_time(times[:1], timezone)[0] - times[0])
    return -ahead % size


def _phase(clock: Times, size: int) -> int:
    """Where in a step the rows are stamped: exactly there, or around a round time; 0 where rows are anywhere."""
    rest = clock % size
    values, counts = np.unique(rest, return_counts=True)
    if counts.max() > HALF * len(rest):
        return int(values[np.argmax(counts)])
    angle = np.angle(np.exp(2j * np.pi * rest / size).mean())
    middle = round(angle / (2.0 * np.pi) * size)
    exact = next(r for unit in (*ROUND, 1) if abs((r := round(middle / unit) * unit) - middle) <= NEAR * size)
    off = np.abs((rest - exact + size // 2) % size - size // 2)
    return int(exact % size) if np.mean(off <= TOLERANCE * size) >= HALF else 0


def _phase_of_months(clock: Times, count: int) -> tuple[int, int, bool]:
    """Phase and first month of a step of so many months, and whether rows lie on one day: of the month, or its last.

    Other rows may lie on the first or last business days; rows that lie anywhere count from the start of their month.
    """
    time_of_day, days = _days(clock)
    month, day_of_month, left = _months(days)
    at_last, at_one = bool(np.mean(left == 0) >= MOST), _one_day_of_month(day_of_month, left)
    at_end = at_last or (not at_one and _at_an_end(left))
    if at_end and np.mean(day_of_month == day_of_month[0]) < MOST:
        return time_of_day - DAY, _usual((month + 1) % count), at_last
    first = _usual(month % count)
    if at_one:
        return _usual(day_of_month) * DAY + time_of_day, first, True
    return (time_of_day, first, False) if _at_an_end(day_of_month) else (0, first, True)


def _days(clock: Times) -> tuple[int, Times]:
    """The time of day of most rows, and the day of each row; a row just before midnight may be of the next day."""
    time_of_day = _phase(clock, DAY)
    return time_of_day, (clock - time_of_day + DAY // 2) // DAY


def _months(days: Times) -> tuple[Times, Times, Times]:
    """The month of each day, the days of it before that day, and the days of it after."""
    month = days.astype("datetime64[D]").astype("datetime64[M]")
    first, next_first = (m.astype("datetime64[D]").astype(np.int64) for m in (month, month + 1))
    return month.astype(np.int64), days - first, next_first - days - 1


def _one_day_of_month(day_of_month: Times, left: Times) -> bool:
    """Whether rows lie at one day of the month, or at the last day where a month has no such day."""
    usual = _usual(day_of_month)
    return bool(np.mean((day_of_month == usual) | ((left == 0) & (day_of_month < usual))) >= MOST)


def _at_an_end(days: Times) -> bool:
    """Whether rows lie so few days from the start of a month, or from its end, as a business day can."""
    return bool(np.mean(days < WEEKEND) >= MOST)


def _calendar_step(clock: Times) -> Step | None:
    """The step of rows that lie at one time of day, whole days or months apart; None where they do not."""
    time_of_day, days = _days(clock)
    off = (clock - time_of_day + DAY // 2) % DAY - DAY // 2
    if np.mean(np.abs(off) <= TOLERANCE * DAY) < MOST:
        return None
    days, rows_of_day = np.unique(days, return_counts=True)
    if len(days) < 2 or np.mean(rows_of_day == 1) < MOST:
        return None
    apart = np.diff(days)
    if np.median(apart) >= 28 and (months := _months_apart(days)):
        return Step(months, "month")
    usual = _usual(apart)
    weekday = (days + MONDAY) % 7
    if usual == 1 and (weekday < 5).all() and days[-1] - days[0] >= 14:
        return Step(1, "business day")
    return Step(usual if np.mean((days - days[-1]) % usual == 0) >= MOST else 1, "day")


def _months_apart(days: Times) -> int:
    """How many months rows are apart that lie on one day of the month, or around its start or end; 0 for others."""
    month, day_of_month, left = _months(days)
    if not (_one_day_of_month(day_of_month, left) or _at_an_end(left) or _at_an_end(day_of_month)):
        return 0
    apart = np.diff(month)
    return _usual(apart[apart > 0]) if (apart > 0).any() else 0


def _usual(values: NDArray[np.int64]) -> int:
    """The most common value, the smallest on a tie."""
    found, counts = np.unique(values, return_counts=True)
    return int(found[np.argmax(counts)])
