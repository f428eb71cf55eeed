"""A bucket holds a few at once, and is filled at a constant rate."""

from __future__ import annotations

from flts.web.rates import MOST, Rates


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_after_a_burst_only_the_rate_passes() -> None:
    clock = Clock()
    rates = Rates(2.0, 3.0, clock)
    assert [rates.take("a") for _ in range(4)] == [0, 0, 0, 1]
    assert rates.take("b") == 0, "each has a bucket of its own"
    clock.now += 0.5
    assert [rates.take("a"), rates.take("a")] == [0, 1]
    clock.now += 3600
    assert [rates.take("a") for _ in range(4)] == [0, 0, 0, 1], "a pause fills no more than the bucket"


def test_it_says_how_long_to_wait() -> None:
    clock = Clock()
    rates = Rates(0.1, 1.0, clock)
    assert [rates.take("a"), rates.take("a")] == [0, 10]
    clock.now += 9.9
    assert rates.take("a") == 1
    clock.now += 0.2
    assert rates.take("a") == 0


def test_those_who_come_and_go_take_no_more_memory() -> None:
    rates = Rates(1.0, 1.0, Clock())
    assert rates.take("first") == 0
    for number in range(MOST):
        rates.take(str(number))
    assert len(rates._buckets) == MOST
    assert rates.take("first") == 0
