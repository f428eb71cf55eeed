"""What uses up the patience with a message: waiting does, work and a process that stood still do not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from flts.contracts.errors import BackendUnavailable, DataError
from flts.runner.services import patience
from flts.runner.services.patience import Patience


class Watch:
    """A clock that a test sets."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def failed(spent: Patience, monkeypatch: pytest.MonkeyPatch, *attempts: float) -> float:
    """What is left of the patience after failed attempts of these durations, in seconds."""
    watch = Watch()
    monkeypatch.setattr(patience, "monotonic", watch)

    def attempt(seconds: float) -> None:
        with spent.attempt():
            watch.now += seconds
            raise BackendUnavailable("away")

    for seconds in attempts:
        with pytest.raises(BackendUnavailable):
            attempt(seconds)
    return spent.left


@pytest.mark.parametrize(
    ("attempts", "left"),
    [
        ([0.0, 0.0], 120.0),
        ([3600.0], 120.0),  # a fit, and then a store that is away
        ([30.0, 3600.0], 90.0),  # a bus that is away before the fit
        ([10.0, 3600.0, 10.0], 100.0),
        ([130.0, 130.0], -10.0),  # a backend that never answers
        ([50.0, 50.0, 50.0, 50.0], -30.0),
    ],
)
def test_the_longest_attempt_may_have_been_work(
    attempts: Sequence[float], left: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failed(Patience(120.0), monkeypatch, *attempts) == left


def test_a_pause_counts_as_long_as_it_was_meant_to_be() -> None:
    spent = Patience(120.0)
    spent.pause(10.0)  # however long the process was stopped meanwhile
    assert spent.left == 110.0
    spent.renew()
    assert spent.left == 120.0


def test_an_error_that_no_retry_mends_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    spent = Patience(120.0)
    with pytest.raises(DataError), spent.attempt():
        raise DataError("no")
    assert failed(spent, monkeypatch, 5.0) == 120.0
