"""Every way through the two gates, with its reason and its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from tests.support.judging import off_by, truth_of, yardstick_of

from flts.contracts.records.decision import Verdict
from flts.evaluate.gate import ChampionForecast, champion_gate, skill_gate
from flts.evaluate.metrics import losses
from flts.evaluate.score import Scored, score
from flts.evaluate.significance import diebold_mariano
from flts.preprocess.rows import Values
from flts.spec.fields import Evaluate

TRUTH = truth_of(60)


def challenger(forecast: Values) -> Scored:
    return score("new", "a" * 64, TRUTH, forecast, yardstick_of(), Evaluate().weights)


def gate(
    forecast: Values, champion: ChampionForecast | None, rules: Evaluate | None = None, spacing: float = 1.0
) -> Verdict:
    return champion_gate(challenger(forecast), champion, TRUTH, yardstick_of(), rules or Evaluate(), spacing)


@pytest.mark.parametrize(
    ("skill", "baseline", "policy", "passed", "reason"),
    [
        (-0.5, "naive", "off", True, "min_skill is off"),
        (None, None, "off", True, "min_skill is off"),
        (0.25, "naive", "warn", True, "skill +25.0% against naive"),
        (-0.1, "naive", "warn", True, "skill -10.0% against naive: no better than a forecast that anyone can make"),
        (0.0, "naive", "warn", True, "skill +0.0% against naive: no better than a forecast that anyone can make"),
        (None, None, "warn", True, "no baseline has a forecast"),
        (None, "naive", "warn", True, "the baseline naive makes no error, so skill is undefined"),
        (0.25, "naive", 0.25, True, "skill +25.0% against naive reaches min_skill +25.0%"),
        (0.249, "naive", 0.25, False, "skill +24.9% against naive is below min_skill +25.0%"),
        (-0.1, "naive", -0.2, True, "skill -10.0% against naive reaches min_skill -20.0%"),
        (0.0, "naive", 0.0, True, "skill +0.0% against naive reaches min_skill +0.0%"),
        (None, "naive", 0.1, False, "the baseline naive makes no error, so skill is undefined"),
        (None, None, 0.1, False, "no baseline has a forecast"),
    ],
)
def test_the_skill_gate_gives_its_reason_and_passes_only_what_its_policy_allows(
    skill: float | None, baseline: str | None, policy: float | Literal["warn", "off"], passed: bool, reason: str
) -> None:
    verdict = skill_gate(skill, baseline, policy)
    assert (verdict.passed, verdict.reason) == (passed, reason)


def test_the_skill_gate_keeps_the_numbers_it_compared() -> None:
    for policy in (0.1, 0.5, "warn"):
        assert skill_gate(0.2, "naive", policy).numbers == {"min_skill": policy, "skill": 0.2, "referee": "naive"}
    assert skill_gate(None, "naive", 0.1).numbers == {"min_skill": 0.1, "skill": None}
    assert skill_gate(0.2, "naive", "off").numbers == {}


def test_the_first_promotion_needs_no_champion() -> None:
    verdict = gate(off_by(TRUTH, 30.0), None)
    assert (verdict.passed, verdict.numbers) == (True, {})
    assert verdict.reason == "first promotion in this scope: there is no champion to beat"


@pytest.mark.parametrize("rules", [Evaluate(), Evaluate(gate="always")])
def test_the_champion_does_not_replace_itself_whatever_the_gate(rules: Evaluate) -> None:
    verdict = gate(off_by(TRUTH, 1.0), ChampionForecast("old", "a" * 64, off_by(TRUTH, 9.0)), rules)
    assert (verdict.passed, verdict.reason) == (False, "new is the champion already")


@pytest.mark.parametrize("forecast", [None, off_by(TRUTH, 0.1)])
def test_gate_always_promotes_without_a_test_and_without_a_comparable_champion(forecast: Values | None) -> None:
    verdict = gate(off_by(TRUTH, 9.0), ChampionForecast("old", "b" * 64, forecast, "why not"), Evaluate(gate="always"))
    assert (verdict.passed, verdict.numbers) == (True, {})
    assert verdict.reason == "gate = always: the best candidate is promoted without a significance test"


def test_a_champion_that_cannot_be_compared_stays_and_the_alternatives_are_named() -> None:
    verdict = gate(off_by(TRUTH, 1.0), ChampionForecast("old", "b" * 64, None, "it forecasts 6 rows ahead, not 2"))
    assert verdict.passed is False
    assert verdict.numbers == {"not_comparable": "it forecasts 6 rows ahead, not 2"}
    assert verdict.reason == (
        "the champion (old) cannot be compared on these windows: it forecasts 6 rows ahead, not 2; use another"
        ' dataset.identifier, gate = "always", or `flts promotions promote`'
    )


def test_a_clearly_better_challenger_beats_the_champion_with_every_number_of_the_test() -> None:
    better, worse = off_by(TRUTH, 1.0, 3), off_by(TRUTH, 6.0, 4)
    verdict = gate(better, ChampionForecast("old", "b" * 64, worse), spacing=2.0)
    test = diebold_mariano(losses(TRUTH, better, yardstick_of()), losses(TRUTH, worse, yardstick_of()), 2, 2.0)
    assert verdict.passed
    assert verdict.numbers == {"test": "diebold-mariano", "alpha": 0.05, **test.model_dump()}
    assert verdict.reason == f"beats the champion (old): p = {test.p:.3g} over 60 windows"


def test_the_loss_of_a_worse_challenger_is_not_smaller() -> None:
    verdict = gate(off_by(TRUTH, 6.0, 3), ChampionForecast("old", "b" * 64, off_by(TRUTH, 1.0, 4)))
    assert verdict.passed is False
    assert verdict.reason == "the champion (old) is not beaten: the challenger's loss is not smaller over 60 windows"


def test_the_loss_of_a_challenger_with_the_same_mean_loss_is_not_smaller() -> None:
    one, two = TRUTH.copy(), TRUTH.copy()
    one[::2] += 3.0
    two[1::2] += 3.0
    truth = np.zeros(TRUTH.shape)
    new = score("new", "a" * 64, truth, one - TRUTH, yardstick_of(), Evaluate().weights)
    verdict = champion_gate(new, ChampionForecast("old", "b" * 64, two - TRUTH), truth, yardstick_of(), Evaluate(), 1.0)
    assert verdict.numbers["mean_difference"] == 0.0
    assert verdict.numbers["p"] == 0.5
    assert verdict.reason == "the champion (old) is not beaten: the challenger's loss is not smaller over 60 windows"


def test_for_a_challenger_that_is_hardly_better_the_reason_gives_its_p_and_the_level() -> None:
    first, second = off_by(TRUTH, 3.0, 3), off_by(TRUTH, 3.0, 4)
    one, two = (challenger(forecast).errors.mse for forecast in (first, second))
    better, worse = (first, second) if one < two else (second, first)
    verdict = gate(better, ChampionForecast("old", "b" * 64, worse))
    assert verdict.passed is False
    p = verdict.numbers["p"]
    assert isinstance(p, float)
    assert p > 0.05
    assert verdict.reason == f"the champion (old) is not beaten: p = {p:.3g} is not below 0.05 over 60 windows"


@pytest.mark.parametrize(
    ("origins", "reason"),
    [
        (29, "the champion (old) is not beaten: 29 windows are too few, the test needs at least 30"),
        (60, "the champion (old) is not beaten: the differences of the losses have no variance"),
    ],
)
def test_where_the_test_has_no_result_the_champion_stays_with_a_reason(origins: int, reason: str) -> None:
    truth = np.zeros((origins, 2, 1))
    new = score("new", "a" * 64, truth, truth + 1.0, yardstick_of(), Evaluate().weights)
    verdict = champion_gate(new, ChampionForecast("old", "b" * 64, truth + 9.0), truth, yardstick_of(), Evaluate(), 1.0)
    assert (verdict.passed, verdict.reason) == (False, reason)
    assert verdict.numbers["p"] is None


def test_the_gate_judges_mean_squared_errors_and_not_the_composite() -> None:
    spikes, steady = TRUTH.copy(), TRUTH + 3.0
    spikes[::6] += 9.0  # a smaller mean absolute error, a larger mean squared one
    new = replace(challenger(spikes), score=0.0)
    champion: dict[str, Any] = {"model": "old", "model_hash": "b" * 64, "forecast": steady}
    verdict = champion_gate(new, ChampionForecast(**champion), TRUTH, yardstick_of(), Evaluate(), 1.0)
    assert not verdict.passed
    assert "loss is not smaller" in verdict.reason
