"""How much history pays is measured on train alone, on the same windows for every length."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.experiments import small_spec
from tests.support.raising import raises
from tests.support.series import HOUR, START, hourly, table

from flts.contracts.errors import DataError, SpecError
from flts.explore.lookback import FLATTENED, LONGEST, Tried, candidates, try_lengths
from flts.explore.rehearse import rehearse
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawInput, RawTable
from flts.spec.sources import validate


def tried_on(rows: Rows, lengths: list[int], horizon: int) -> Tried | None:
    spec = small_spec(task={"input_length": 1, "horizon": horizon})
    experiment = rehearse(spec, RawInput(RawTable("load.csv", table(rows)), None))
    return try_lengths(experiment.dataset, lengths, experiment.task, 0.1)


def echo(lag: int, rows: int = 900) -> Rows:
    """A series that repeats its value of `lag` rows ago."""
    values = np.random.default_rng(0).normal(size=(rows, 2))
    for row in range(lag, rows):
        values[row, 0] = 0.95 * values[row - lag, 0] + 0.1 * values[row, 0]
    return Rows(START + HOUR * np.arange(rows, dtype=np.int64), values, ("load", "wind"))


def test_a_history_that_reaches_the_echo_is_chosen_over_one_that_does_not() -> None:
    tried = tried_on(echo(30), [8, 16, 24, 36, 48], 1)
    assert tried is not None
    assert tried.errors[36] < 0.5 * tried.errors[24]
    assert tried.chosen == 36


def test_the_shortest_of_nearly_equal_lengths_is_chosen() -> None:
    assert Tried({8: 1.02, 12: 1.009, 24: 1.0, 48: 1.3}, 100).chosen == 12


def test_all_lengths_are_judged_on_the_same_windows() -> None:
    rows = hourly(600)
    alone, beside = tried_on(rows, [48], 3), tried_on(rows, [8, 48], 3)
    assert alone is not None
    assert beside is not None
    assert alone.errors[48] == beside.errors[48]
    assert alone.windows == beside.windows


def test_the_error_is_in_the_units_of_the_target() -> None:
    rows = hourly(600)
    small = tried_on(rows, [24], 1)
    large = tried_on(Rows(rows.times, rows.values * 1000.0, rows.columns), [24], 1)
    assert small is not None
    assert large is not None
    assert large.errors[24] == pytest.approx(1000.0 * small.errors[24], rel=1e-3)


def test_too_few_windows_for_the_longest_give_no_result() -> None:
    assert tried_on(hourly(100), [79], 1) is None


def test_candidates_fit_into_train_and_hold_the_seasons() -> None:
    lengths = candidates(7000, LONGEST, 10, 24, [24, 168])
    assert {24, 48, 168} <= set(lengths)
    assert max(lengths) * 10 <= FLATTENED
    assert max(candidates(10**6, 10**6, 1, 1, [720])) <= LONGEST
    assert max(candidates(10**6, 20, 1, 5, [])) <= 20
    assert candidates(9, 1, 1, 1, []) == [1]
    assert 24 in candidates(115, LONGEST, 1, 12, [12])


def test_a_history_holds_a_season_where_the_rows_allow_it() -> None:
    assert min(candidates(115, LONGEST, 1, 12, [12])) == 12
    assert min(candidates(3000, LONGEST, 1, 96, [96, 672])) == 96
    assert min(candidates(40, LONGEST, 1, 1, [12])) < 12


def test_a_rehearsal_refuses_what_a_run_refuses() -> None:
    raw = RawInput(RawTable("load.csv", table(hourly(60))), None)
    with raises(SpecError, code="no-targets", key="dataset.targets"):
        rehearse(validate({}), raw)
    with raises(DataError, code="test-too-short", expected=3):
        rehearse(small_spec(dataset={"targets": ["load"], "test_fraction": 0.04}), raw)
    flat = hourly(300)
    flat.values[:, 0] = 1.0
    with raises(DataError, code="target-constant", column="load", found=1.0):
        rehearse(small_spec(), RawInput(RawTable("load.csv", table(flat)), None))
