"""Every way through the two gates, its words and its numbers."""

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
    ("skill", "referee", "policy", "passed", "reason"),
    [
        (-0.5, "naive", "off", True, "min_skill is off"),
        (None, None, "off", True, "min_skill is off"),
        (0.25, "naive", "warn", True, "skill +25.0% against naive"),
        (-0.1, "naive", "warn", True, "skill -10.0% against naive: no better than a forecast anyone can make"),
        (0.0, "naive", "warn", True, "skill +0.0% against naive: no better than a forecast anyone can make"),
        (None, None, "warn", True, "no referee applies"),
        (None, "naive", "warn", True, "the referee naive makes no error, so skill is undefined"),
        (0.25, "naive", 0.25, True, "skill +25.0% against naive reaches min_skill +25.0%"),
        (0.249, "naive", 0.25, False, "skill +24.9% against naive is under min_skill +25.0%"),
        (-0.1, "naive", -0.2, True, "skill -10.0% against naive reaches min_skill -20.0%"),
        (0.0, "naive", 0.0, True, "skill +0.0% against naive reaches min_skill +0.0%"),
        (None, "naive", 0.1, False, "the referee naive makes no error, so skill is undefined"),
        (None, None, 0.1, False, "no referee applies"),
    ],
)
def test_the_skill_gate_says_what_it_compared_and_passes_only_what_its_policy_allows(
    skill: float | None, referee: str | None, policy: float | Literal["warn", "off"], passed: bool, reason: str
) -> None:
    found = skill_gate(skill, referee, policy)
    assert (found.passed, found.reason) == (passed, reason)


def test_the_skill_gate_keeps_the_numbers_it_compared() -> None:
    for policy in (0.1, 0.5, "warn"):
        assert skill_gate(0.2, "naive", policy).numbers == {"min_skill": policy, "skill": 0.2, "referee": "naive"}
    assert skill_gate(None, "naive", 0.1).numbers == {"min_skill": 0.1, "skill": None}
    assert skill_gate(0.2, "naive", "off").numbers == {}


def test_the_first_promotion_needs_no_champion() -> None:
    found = gate(off_by(TRUTH, 30.0), None)
    assert (found.passed, found.numbers) == (True, {})
    assert found.reason == "first promotion of this scope, there is no champion to beat"


@pytest.mark.parametrize("rules", [Evaluate(), Evaluate(gate="always")])
def test_the_champion_does_not_replace_itself_whatever_the_gate(rules: Evaluate) -> None:
    found = gate(off_by(TRUTH, 1.0), ChampionForecast("old", "a" * 64, off_by(TRUTH, 9.0)), rules)
    assert (found.passed, found.reason) == (False, "new is the champion already")


@pytest.mark.parametrize("forecast", [None, off_by(TRUTH, 0.1)])
def test_gate_always_promotes_without_a_test_and_without_a_comparable_champion(forecast: Values | None) -> None:
    found = gate(off_by(TRUTH, 9.0), ChampionForecast("old", "b" * 64, forecast, "why not"), Evaluate(gate="always"))
    assert (found.passed, found.numbers) == (True, {})
    assert found.reason == "gate = always: the best candidate is promoted without a test"


def test_a_champion_that_cannot_be_compared_stays_and_the_ways_on_are_named() -> None:
    found = gate(off_by(TRUTH, 1.0), ChampionForecast("old", "b" * 64, None, "it forecasts 6 rows ahead, not 2"))
    assert found.passed is False
    assert found.numbers == {"not_comparable": "it forecasts 6 rows ahead, not 2"}
    assert found.reason == (
        "the champion (old) cannot be compared on these windows: it forecasts 6 rows ahead, not 2; ways on: another"
        ' dataset.identifier, gate = "always", or `flts promotions promote`'
    )


def test_a_clearly_better_challenger_beats_the_champion_with_every_number_of_the_test() -> None:
    better, worse = off_by(TRUTH, 1.0, 3), off_by(TRUTH, 6.0, 4)
    found = gate(better, ChampionForecast("old", "b" * 64, worse), spacing=2.0)
    test = diebold_mariano(losses(TRUTH, better, yardstick_of()), losses(TRUTH, worse, yardstick_of()), 2, 2.0)
    assert found.passed
    assert found.numbers == {"test": "diebold-mariano", "alpha": 0.05, **test.model_dump()}
    assert found.reason == f"beats the champion (old): p = {test.p:.3g} over 60 windows"


def test_a_worse_challenger_is_told_that_its_loss_is_not_smaller() -> None:
    found = gate(off_by(TRUTH, 6.0, 3), ChampionForecast("old", "b" * 64, off_by(TRUTH, 1.0, 4)))
    assert found.passed is False
    assert found.reason == "the champion (old) is not beaten: its loss is not smaller over 60 windows"


def test_a_challenger_with_the_same_mean_loss_is_told_that_its_loss_is_not_smaller() -> None:
    one, two = TRUTH.copy(), TRUTH.copy()
    one[::2] += 3.0
    two[1::2] += 3.0
    truth = np.zeros(TRUTH.shape)
    new = score("new", "a" * 64, truth, one - TRUTH, yardstick_of(), Evaluate().weights)
    found = champion_gate(new, ChampionForecast("old", "b" * 64, two - TRUTH), truth, yardstick_of(), Evaluate(), 1.0)
    assert found.numbers["mean_difference"] == 0.0
    assert found.numbers["p"] == 0.5
    assert found.reason == "the champion (old) is not beaten: its loss is not smaller over 60 windows"


def test_a_challenger_that_is_hardly_better_is_told_the_p_that_it_has_and_the_one_it_needs() -> None:
    first, second = off_by(TRUTH, 3.0, 3), off_by(TRUTH, 3.0, 4)
    one, two = (challenger(forecast).errors.mse for forecast in (first, second))
    better, worse = (first, second) if one < two else (second, first)
    found = gate(better, ChampionForecast("old", "b" * 64, worse))
    assert found.passed is False
    p = found.numbers["p"]
    assert isinstance(p, float)
    assert p > 0.05
    assert found.reason == (f"the champion (old) is not beaten: p = {p:.3g}, 0.05 is needed over 60 windows")


@pytest.mark.parametrize(
    ("origins", "reason"),
    [
        (29, "the champion (old) is not beaten: 29 origins are too few, the test needs 30"),
        (60, "the champion (old) is not beaten: the difference of the losses has no variance"),
    ],
)
def test_where_the_test_has_no_answer_the_champion_stays_and_the_reason_is_said(origins: int, reason: str) -> None:
    truth = np.zeros((origins, 2, 1))
    new = score("new", "a" * 64, truth, truth + 1.0, yardstick_of(), Evaluate().weights)
    found = champion_gate(new, ChampionForecast("old", "b" * 64, truth + 9.0), truth, yardstick_of(), Evaluate(), 1.0)
    assert (found.passed, found.reason) == (False, reason)
    assert found.numbers["p"] is None


def test_the_gate_judges_mean_squared_errors_and_not_the_composite() -> None:
    spikes, steady = TRUTH.copy(), TRUTH + 3.0
    spikes[::6] += 9.0  # a smaller mean absolute error, a larger mean squared one
    new = replace(challenger(spikes), score=0.0)
    champion: dict[str, Any] = {"model": "old", "model_hash": "b" * 64, "forecast": steady}
    found = champion_gate(new, ChampionForecast(**champion), TRUTH, yardstick_of(), Evaluate(), 1.0)
    assert not found.passed
    assert "its loss is not smaller" in found.reason
