"""Student's t distribution against scipy."""

from __future__ import annotations

import math

import pytest

from flts.evaluate.student import student_t_cdf, student_t_critical

DEGREES = (2, 3, 5, 10, 29, 30, 99, 499, 5_000, 100_000)
MAGNITUDES = (0.0, 1e-12, 1e-8, 1e-6, 1e-4, 1e-3, 0.01, 0.1, 0.5, 1.0, 1.6, 2.0, 3.0, 5.0, 10.0, 40.0, 1e3, 1e200)


@pytest.mark.parametrize("degrees", DEGREES)
def test_the_distribution_function_of_student_t_is_that_of_scipy(degrees: int) -> None:
    from scipy.stats import t

    for value in (*MAGNITUDES, *(-m for m in MAGNITUDES)):
        assert student_t_cdf(value, degrees) == pytest.approx(float(t.cdf(value, degrees)), abs=1e-10), value


@pytest.mark.parametrize(
    ("t", "degrees"), [(1.6383560438182505, 17), (1.689277519114419, 39), (1.6892775191144191, 39)]
)
def test_the_distribution_function_is_defined_where_both_sides_of_the_continued_fraction_meet(
    t: float, degrees: int
) -> None:
    from scipy.stats import t as student

    assert student_t_cdf(t, degrees) == pytest.approx(float(student.cdf(t, degrees)), abs=1e-12)


def test_with_one_degree_of_freedom_student_t_is_the_arc_tangent() -> None:
    for value in (*MAGNITUDES, *(-m for m in MAGNITUDES)):  # scipy itself is off by 1.6e-9 near zero
        assert student_t_cdf(value, 1) == pytest.approx(0.5 + math.atan(value) / math.pi, abs=1e-10), value


@pytest.mark.parametrize("degrees", [1, 4, 7, 25, 119])
@pytest.mark.parametrize("tail", [0.4999, 0.3, 0.05, 0.025, 0.005, 1e-5, 1e-9])
def test_a_critical_value_is_exceeded_with_the_probability_asked_for(tail: float, degrees: int) -> None:
    from scipy.stats import t

    found = student_t_critical(tail, degrees)
    assert found == pytest.approx(float(t.isf(tail, degrees)), rel=1e-8)
    assert student_t_cdf(-found, degrees) <= tail < student_t_cdf(-math.nextafter(found, 0.0), degrees)
