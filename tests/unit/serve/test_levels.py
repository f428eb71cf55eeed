"""Several levels and quantiles at once are those that are asked for one by one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.stored import fit

from flts.contracts.errors import UsageError
from flts.forecasting.bundle import Bundle, load_bundle
from flts.forecasting.intervals import LEVELS
from flts.serve import answer as answering
from flts.serve.answer import answer
from flts.serve.levels import needed

HISTORY = table(hourly(290))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    experiment, store = small_experiment(small_spec(dataset={"targets": ["load", "wind"]}))
    return load_bundle(store, fit(store, experiment).bundle_sha256)


def test_every_level_is_that_of_a_request_of_its_own(bundle: Bundle) -> None:
    made = answer(bundle, HISTORY, LEVELS)
    frame = made.frame(LEVELS)
    ends = [f"{end}_{name}" for name in ("50", "80", "90", "95") for end in ("lower", "upper")]
    assert frame.columns == ["time", "target", "mean", *ends]
    for level in LEVELS:
        alone = answer(bundle, HISTORY, level).frame()
        assert alone.columns == ["time", "target", "mean", "lower", "upper"]
        for end in ("lower", "upper"):
            assert frame[f"{end}_{level * 100:g}"].to_list() == alone[end].to_list()
    assert made.lower.tolist() == answer(bundle, HISTORY, 0.5).lower.tolist()


def test_a_quantile_is_the_end_of_an_interval_and_the_middle_is_the_forecast(bundle: Bundle) -> None:
    quantiles = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
    frame = answer(bundle, HISTORY, quantiles=quantiles).frame(quantiles=quantiles)
    names = ["q2.5", "q5", "q10", "q25", "q50", "q75", "q90", "q95", "q97.5"]
    assert frame.columns == ["time", "target", "mean", "lower", "upper", *names]
    assert frame["q50"].to_list() == frame["mean"].to_list()
    assert frame["q10"].to_list() == frame["lower"].to_list()
    assert frame["q90"].to_list() == frame["upper"].to_list()
    assert (np.diff(frame.select(names).to_numpy(), axis=1) >= 0.0).all()


def test_each_level_is_computed_once() -> None:
    assert needed((0.8, 0.8, 0.5), (0.1, 0.9, 0.5, 0.025)) == (0.8, 0.5, 0.95)


@pytest.mark.parametrize(
    ("levels", "quantiles", "code", "found"),
    [
        ((0.5, 0.7), (), "unknown-level", 0.7),
        (80, (), "unknown-level", 80),
        ((), (0.5, 0.3), "unknown-quantile", 0.3),
        (0.8, (10,), "unknown-quantile", 10),
    ],
)
def test_what_no_interval_answers_is_refused(
    bundle: Bundle, levels: float | Sequence[float], quantiles: Sequence[float], code: str, found: float
) -> None:
    with raises(UsageError, code=code, found=found):
        answer(bundle, HISTORY, levels, quantiles=quantiles)


def test_beyond_the_trained_horizon_no_level_has_bounds() -> None:
    ends = (np.ones((1, 3, 2)), np.ones((1, 3, 2)))
    lower, upper = answering._ends(ends, 5)
    for end in (lower, upper):
        assert end[:3].tolist() == [[1.0, 1.0]] * 3
        assert np.isnan(end[3:]).all()
    assert answering._ends(ends, 2)[0].shape == (2, 2)
