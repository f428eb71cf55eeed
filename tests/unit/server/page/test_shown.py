"""Times, durations and numbers as the page shows them."""

from __future__ import annotations

import math

import pytest

from flts.server.page.shown import Moment, ago, aligned, decimals, lasting, local_times, moment, moment_of, percent
from flts.spec.steps import SECOND, Step

SUMMER = 1_720_000_000
"""2024-07-03 09:46:40 UTC."""


def test_a_moment_is_told_in_utc_to_the_minute_and_to_programs_to_the_second() -> None:
    assert moment("2024-07-03T11:46:40.5+02:00") == Moment("3 Jul 2024, 09:46 UTC", "2024-07-03T09:46:40+00:00")
    assert moment_of(SUMMER + 0.5) == moment("2024-07-03T09:46:40+00:00")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds ago"),
        (1, "1 second ago"),
        (119, "1 minute ago"),
        (7_200, "2 hours ago"),
        (86_400 * 10, "10 days ago"),
        (-5, "0 seconds ago"),
    ],
)
def test_ago_names_the_largest_unit_and_no_time_in_the_future(seconds: int, words: str) -> None:
    assert ago("2024-07-03T09:46:40+00:00", SUMMER + seconds) == words


@pytest.mark.parametrize(
    ("rows", "step", "words"),
    [
        (24, "1h", "1 day"),
        (168, "1h", "1 week"),
        (36, "1h", "36 hours"),
        (7, "1d", "1 week"),
        (12, "1mo", "1 year"),
        (3, "1mo", "3 months"),
        (5, "1bd", "5 business days"),
        (2, "90min", "3 hours"),
        (3, "1ms", "3 steps of 1ms"),
    ],
)
def test_steps_last_as_long_as_people_say(rows: int, step: str, words: str) -> None:
    assert lasting(rows, Step.parse(step)) == words


def test_local_times_show_no_part_that_is_midnight_everywhere() -> None:
    midnight = 1_719_957_600 * SECOND  # 2024-07-03 00:00 in Berlin
    assert local_times([midnight, midnight + 86_400 * SECOND], "Europe/Berlin") == ["2024-07-03", "2024-07-04"]
    assert local_times([midnight], "UTC") == ["2024-07-02 22:00"]
    assert local_times([midnight, midnight + SECOND], "Europe/Berlin")[1] == "2024-07-03 00:00:01"


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([1.0, 30.0, None], 0),
        ([0.5, 36.0], 1),
        ([0.001, 0.005], 5),
        ([1e9 + 0.5, 2e9], 0),
        ([2.5, 2.5], 2),
        ([0.0, 0.0], 0),
        ([None, math.nan], 0),
        ([1e-30, 2e-30], 9),
    ],
)
def test_a_column_has_the_decimals_that_its_range_needs(values: list[float | None], places: int) -> None:
    assert decimals(values) == places


def test_numbers_of_a_column_are_aligned_and_a_missing_one_is_empty() -> None:
    values = (1.0, -2.345, None, math.nan, 1e20)
    assert [aligned(value, 2) for value in values] == ["1.00", "-2.35", "", "", "1.000000e+20"]
    assert percent(-0.1537) == "15.4 %"
