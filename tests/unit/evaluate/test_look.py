"""One look at the champion: Holm's adjustment, the level that is left, and the errors of repeated looks."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.judging import off_by, truth_of, windows_of, yardstick_of
from tests.support.simulated import Scopes, adjusted_p_of_best, origin_differences

from flts.contracts.canonical import digest
from flts.contracts.records.decision import ChampionName, Look, WindowsSummary
from flts.evaluate.look import holm, level_of, look_at, shown, spans_since, stated_error
from flts.evaluate.origins import difference
from flts.evaluate.score import Scored, score
from flts.evaluate.significance import mean_of
from flts.spec.fields import Evaluate, Weights

TRUTH = truth_of(100)
OLD = ChampionName(model="old", model_hash=digest("old"))


def scored(name: str, error: float, seed: int) -> Scored:
    return score(name, digest(name), TRUTH, off_by(TRUTH, error, seed), yardstick_of(), Weights())


def windows(first: int, last: int) -> WindowsSummary:
    return windows_of(TRUTH).model_copy(update={"first": first, "last": last})


def look(rules: Evaluate | None = None, spans: float = 0.0) -> Look:
    candidates = [scored("new", 1.0, 3), scored("near", 3.0, 4), scored("old", 3.0, 5)]
    return look_at(candidates, digest("old"), scored("old", 3.1, 9), OLD, spans, rules or Evaluate(), 2)


@pytest.mark.parametrize(
    ("now", "chosen", "spans"),
    [
        ((100, 200), (100, 200), 0.0),
        ((150, 250), (100, 200), 0.5),
        ((350, 450), (100, 200), 2.5),
        ((100, 200), (300, 400), 0.0),
        ((300, 300), (100, 200), 0.0),
        ((200, 600), (0, 100), 1.25),
    ],
)
def test_windows_move_by_the_distance_of_their_last_origins_in_spans_of_today(
    now: tuple[int, int], chosen: tuple[int, int], spans: float
) -> None:
    assert spans_since(windows(*now), windows(*chosen)) == spans


@pytest.mark.parametrize(("spans", "level"), [(0.0, 0.025), (0.5, 0.00625), (1.0, 0.05 / 18), (4.5, 0.00025)])
def test_the_level_falls_with_the_distance(spans: float, level: float) -> None:
    assert level_of(spans) == pytest.approx(level, rel=1e-12)


def test_adjusted_p_are_those_of_holm_and_never_fall() -> None:
    p = {"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}
    assert holm(p) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({"a": 0.9, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.02}) == {"a": 0.02}
    assert holm({}) == {}


def test_a_test_without_an_answer_counts_and_gets_no_adjusted_p() -> None:
    assert holm({"a": 0.02, "b": None, "c": 0.03}) == pytest.approx({"a": 0.06, "b": None, "c": 0.06})


def test_a_look_tests_every_candidate_but_the_champion_itself() -> None:
    found = look()
    assert list(found.tests) == ["near", "new"]
    assert (found.against, found.margin, found.spans, found.level) == (OLD, None, 0.0, 0.025)
    alone = difference(scored("near", 3.0, 4), scored("old", 3.1, 9), Weights(), 2).test()
    assert found.tests["near"].p == alone.p
    p = {name: test.p for name, test in found.tests.items()}
    assert {name: test.adjusted_p for name, test in found.tests.items()} == holm(p)


def test_a_candidate_is_shown_to_be_better_where_its_adjusted_p_is_below_the_level() -> None:
    found = look()
    assert shown(found, "new")
    assert not shown(found, "near")
    exactly = found.model_copy(update={"level": found.tests["new"].adjusted_p})
    assert not shown(exactly, "new")
    silent = found.tests["new"].model_copy(update={"adjusted_p": None})
    assert not shown(found.model_copy(update={"tests": {"new": silent}}), "new")


def test_a_margin_tests_against_a_worse_reference() -> None:
    plain, within = look(), look(Evaluate(gate="not-worse", margin=0.5))
    near = scored("near", 3.0, 4)
    assert within.margin == 0.5
    assert within.tests["near"].mean_difference == pytest.approx(near.score - 1.5 * scored("old", 3.1, 9).score)
    assert shown(within, "near")
    assert not shown(plain, "near")
    assert look(Evaluate(gate="always", margin=0.5)).margin is None


def test_each_gate_says_what_its_error_is() -> None:
    assert stated_error(look(spans=0.5), "old") == (
        "nominal error of this look: a candidate is promoted that is no better than old, at most 0.62 %"
    )
    assert stated_error(look(Evaluate(gate="not-worse")), "old of promotion 3") == (
        "nominal error of this look: a candidate is promoted that is worse than old of promotion 3 by 2 % or more, at"
        " most 2.5 %"
    )


def test_the_simulation_adjusts_like_the_look() -> None:
    d = origin_differences(100, 1, 1, 0.5, 50, seed=2).reshape(10, 5, 100)
    found = adjusted_p_of_best(d, 1, 1.0)
    for scope, of_best in zip(d, found, strict=True):
        means = [mean_of(row, np.zeros(100), 1) for row in scope]
        adjusted = holm({str(i): mean.test().p for i, mean in enumerate(means)})
        best = min(range(5), key=lambda i: means[i].value or 0.0)
        assert adjusted[str(best)] == pytest.approx(of_best, abs=1e-9)


@pytest.mark.parametrize("horizon", [1, 24])
def test_the_best_of_five_equal_candidates_is_promoted_in_five_of_a_hundred_looks(horizon: int) -> None:
    d = origin_differences(500, 1, horizon, 0.5, 5000, seed=12).reshape(-1, 5, 500)
    assert 0.02 < np.mean(adjusted_p_of_best(d, horizon, 1) < 0.05) <= 0.07


def test_few_scopes_of_equal_models_promote_within_sixty_days_of_daily_looks() -> None:
    always = Scopes(300, spacing=1).promoted((60,), 13, {"in use": level_of, "always 5 %": lambda _: 0.05})
    assert always["in use"][0] <= 0.07
    assert always["always 5 %"][0] > 0.3
