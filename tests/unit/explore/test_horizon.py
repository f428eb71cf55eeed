"""The horizon that is suggested is one that a person would choose for rows of that step."""

from __future__ import annotations

import pytest

from flts.explore.horizon import natural_horizon
from flts.spec.steps import Step


@pytest.mark.parametrize(
    ("step", "rows", "unit"),
    [
        ("15min", 96, "one day"),
        ("1h", 24, "one day"),
        ("2h", 12, "one day"),
        ("12h", 2, "one day"),
        ("24h", 7, "one week"),
        ("1min", 60, "one hour"),
        ("1s", 60, "one minute"),
        ("1d", 30, "30 days"),
        ("1bd", 20, "four weeks"),
        ("1w", 8, "eight weeks"),
        ("1mo", 12, "one year"),
        ("3mo", 4, "one year"),
        ("1y", 1, ""),
        ("7min", 1, ""),
    ],
)
def test_a_horizon_is_a_natural_unit_of_the_step(step: str, rows: int, unit: str) -> None:
    assert natural_horizon(Step.parse(step), 1000) == (rows, unit)


def test_few_rows_get_a_shorter_one() -> None:
    assert natural_horizon(Step.parse("1h"), 23) == (6, "six hours")
    assert natural_horizon(Step.parse("1d"), 29) == (28, "four weeks")
    assert natural_horizon(Step.parse("1mo"), 11) == (6, "six months")
    assert natural_horizon(Step.parse("1mo"), 0) == (1, "")
