"""What holds for the features of any rows: they never look ahead, and nothing is learned from test."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.support.experiments import small_spec
from tests.support.series import HOUR, START, table

from flts.backends.store import memory_store
from flts.contracts.records.data import CALENDAR, FittedColumn
from flts.preprocess.fit import fit
from flts.preprocess.grid import Grid
from flts.preprocess.rows import Rows, Values
from flts.preprocess.source import RawInput, RawTable
from flts.preprocess.stage import preprocess
from flts.preprocess.transform import FittedPreprocess, transform
from flts.spec.fields import Preprocess
from flts.spec.steps import Step

COLUMNS = ("load", "wind")
NUMBERS = st.floats(-1e6, 1e6)
ZONES = st.sampled_from(["UTC", "Europe/Madrid", "Australia/Lord_Howe"])
RULES = st.builds(
    Preprocess.model_validate,
    st.fixed_dictionaries(
        {
            "missing": st.fixed_dictionaries({"max_gap": st.integers(0, 6), "drop_columns_above": st.just(1.0)}),
            "outliers": st.fixed_dictionaries(
                {"enabled": st.booleans(), "method": st.sampled_from(["iqr", "quantile"]), "factor": st.just(2.0)}
            ),
            "time_features": st.booleans(),
            "lags": st.lists(st.integers(1, 12), max_size=3, unique=True),
            "scaler": st.sampled_from(["minmax", "standard", "robust", "maxabs", "none"]),
            "constant": st.floats(-10, 10),
        }
    ),
)


def values(rows: int, *, gaps: bool = True) -> st.SearchStrategy[Values]:
    """Cells of this many rows."""
    cells = NUMBERS | st.just(math.nan) if gaps else NUMBERS
    return arrays.arrays(np.float64, (rows, len(COLUMNS)), elements=cells)


def hours(cells: Values, first: int = 0) -> Rows:
    """Hourly rows of these cells, from the hour `first` on."""
    return Rows(START + HOUR * np.arange(first, first + len(cells), dtype=np.int64), cells, COLUMNS)


@st.composite
def learned(draw: st.DrawFn) -> FittedPreprocess:
    """Statistics fitted on some train rows by some rules."""
    cells = draw(values(20))
    cells[0], cells[-1] = (-1.0, 1.0), (2.0, 3.0)
    grid = Grid(Step(HOUR, "ns"), draw(ZONES), local=False)
    fitted = fit(hours(cells), draw(RULES), grid).preprocess.for_targets(("load",))
    return replace(fitted, calendar=tuple(draw(st.sampled_from([(), CALENDAR, CALENDAR[:2]]))))


@settings(deadline=None)
@given(fitted=learned(), cells=values(16), later=values(16), row=st.integers(0, 15))
def test_a_row_never_changes_the_features_of_rows_before_it(
    fitted: FittedPreprocess, cells: Values, later: Values, row: int
) -> None:
    rows = hours(cells, 20)
    features = transform(rows.times, cells, fitted)
    changed = np.where(np.arange(16)[:, None] >= row, later, cells)
    np.testing.assert_array_equal(transform(rows.times, changed, fitted)[:row], features[:row])
    np.testing.assert_array_equal(transform(rows.times[:row], cells[:row], fitted), features[:row])


@settings(deadline=None)
@given(fitted=learned(), cells=values(24, gaps=False), start=st.integers(0, 20), length=st.integers(1, 24))
def test_a_window_without_gaps_or_lags_has_the_features_of_the_longer_history(
    fitted: FittedPreprocess, cells: Values, start: int, length: int
) -> None:
    rows = hours(cells, 20)
    window = slice(start, start + length)
    whole = transform(rows.times, cells, fitted)[window]
    alone = transform(rows.times[window], cells[window], fitted)
    inside = max(fitted.lags, default=0)
    np.testing.assert_array_equal(alone[inside:], whole[inside:])


@settings(deadline=None)
@given(fitted=learned(), cells=values(16))
def test_features_are_finite_whatever_is_missing(fitted: FittedPreprocess, cells: Values) -> None:
    rows = hours(cells, 20)
    features = transform(rows.times, cells, fitted)
    assert features.dtype == np.float32
    assert features.shape == (16, len(fitted.features))
    assert np.isfinite(features).all()


@settings(deadline=None)
@given(low=NUMBERS, high=NUMBERS, cells=values(8, gaps=False))
def test_scaled_targets_are_unscaled_to_their_values(low: float, high: float, cells: Values) -> None:
    low, high = sorted((low, high))
    assume(high - low > 1e-9)
    column = {"median": 0.0, "low": None, "high": None, "center": 0.0, "scale": 1.0, "minimum": low, "maximum": high}
    both = tuple(FittedColumn(name=name, **column) for name in COLUMNS)  # type: ignore[arg-type]
    grid = Grid(Step(HOUR, "ns"), "UTC", local=False)
    fitted = FittedPreprocess(both, COLUMNS, grid, True, "off", 5, (), (), 0.0)
    back = fitted.unscale_targets(fitted.scale_targets(cells))
    # relative to the largest number in the sum: a target near 0 in a range of millions has no more digits
    size = np.maximum(np.abs(cells), max(abs(low), abs(high)))
    assert (np.abs(back - cells) <= 1e-12 * size).all()


@settings(deadline=None, max_examples=20)
@given(
    train=values(30),
    first=values(12),
    second=values(12),
    rules=RULES,
    sample=st.fixed_dictionaries(
        {"train_rows": st.sampled_from([0, 20]), "strategy": st.sampled_from(["head", "tail", "random"])}
    ),
    one_file=st.booleans(),
)
def test_no_fitted_statistic_depends_on_test_rows(
    train: Values, first: Values, second: Values, rules: Preprocess, sample: dict[str, Any], one_file: bool
) -> None:
    def prepared(test: Values) -> dict[str, Any]:
        if one_file:
            raw = RawInput(RawTable("rows", table(hours(np.concatenate([train, test])))), None)
        else:
            raw = RawInput(RawTable("train", table(hours(train))), RawTable("test", table(hours(test, 30))))
        spec = small_spec(
            dataset={"targets": ["load"], "test_fraction": 12 / 42}, preprocess=rules.model_dump(), sample=sample
        )
        return preprocess(spec, raw, memory_store(), version=1).meta.model_dump()

    a, b = prepared(first), prepared(second)
    for name in ("fitted", "seasons", "dropped", "warnings"):
        assert a[name] == b[name]
    assert (a["train"]["rows"], a["test"]["rows"]) == (b["train"]["rows"], b["test"]["rows"])
    assert a["train"]["rows"] == (sample["train_rows"] or 30)
