"""Every way through the two gates, with its reason and its numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from tests.support.judging import case_of, known, off_by, success, truth_of, yardstick_of

from flts.contracts.canonical import digest
from flts.contracts.records.decision import DecisionRecord, Verdict
from flts.evaluate.decide import decide
from flts.evaluate.gate import ChampionForecast, champion_gate, skill_gate
from flts.evaluate.score import Scored, score
from flts.preprocess.rows import Values
from flts.spec.fields import Evaluate, Weights

TRUTH = truth_of(60)


def challenger(forecast: Values) -> Scored:
    return score("new", "a" * 64, TRUTH, forecast, yardstick_of(), Evaluate().weights)


def gate(champion: ChampionForecast | None, rules: str = "beats-champion") -> Verdict:
    """The verdict on a challenger where no test was made."""
    return champion_gate(challenger(off_by(TRUTH, 1.0)), champion, champion, None, rules)


def judged(*forecasts: Values, rules: Evaluate | None = None, **changes: Any) -> DecisionRecord:
    """Decide between candidates with these forecasts, named new, second and third, and a champion."""
    names = ("new", "second", "third")
    candidates = [success(name, forecast) for name, forecast in zip(names[: len(forecasts)], forecasts, strict=True)]
    return decide(
        case_of(truth=TRUTH, candidates=candidates, baselines=[], rules=rules or Evaluate(), **changes)
    ).record


def old(forecast: Values | None, why_not: str | None = None) -> ChampionForecast:
    return ChampionForecast("old", digest("old"), forecast, why_not)


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
    verdict = gate(None)
    assert (verdict.passed, verdict.numbers) == (True, {})
    assert verdict.reason == "first promotion in this scope: there is no champion to beat"


@pytest.mark.parametrize("rules", ["beats-champion", "not-worse", "always"])
def test_the_champion_does_not_replace_itself_whatever_the_gate(rules: str) -> None:
    verdict = gate(ChampionForecast("old", "a" * 64, off_by(TRUTH, 9.0)), rules)
    assert (verdict.passed, verdict.reason) == (False, "new is the champion already")


@pytest.mark.parametrize("forecast", [None, off_by(TRUTH, 0.1)])
def test_gate_always_promotes_without_a_test_and_without_a_comparable_champion(forecast: Values | None) -> None:
    record = judged(off_by(TRUTH, 9.0), champion=old(forecast, "why not"), rules=Evaluate(gate="always"))
    verdict = record.gates["champion"]
    assert (verdict.passed, verdict.numbers, record.look) == (True, {}, None)
    assert verdict.reason == "gate = always: the best candidate is promoted without a test, so nothing bounds the error"


def test_a_champion_that_cannot_be_compared_stays_and_the_alternatives_are_named() -> None:
    record = judged(off_by(TRUTH, 1.0), champion=old(None, "it forecasts 6 rows ahead, not 2"))
    verdict = record.gates["champion"]
    assert (verdict.passed, record.look) == (False, None)
    assert verdict.numbers == {"not_comparable": "it forecasts 6 rows ahead, not 2"}
    assert verdict.reason == (
        "the champion (old) cannot be compared on these windows: it forecasts 6 rows ahead, not 2; use another"
        ' dataset.identifier, gate = "always", or `flts promotions promote`'
    )


def test_a_clearly_better_challenger_beats_the_champion_with_every_number_of_the_test() -> None:
    record = judged(off_by(TRUTH, 1.0, 3), champion=old(off_by(TRUTH, 6.0, 4)), spans=0.5)
    verdict, look = record.gates["champion"], known(record.look)
    test = look.tests["new"]
    assert verdict.passed
    assert verdict.numbers == {"spans": 0.5, "level": 0.00625, **test.model_dump()}
    assert verdict.reason == f"beats the champion (old): p = {test.p:.3g} is below 0.00625 over 60 windows"
    assert record.reasons[-1] == (
        "nominal error of this look: a candidate is promoted that is no better than old, at most 0.62 %"
    )


def test_the_level_is_that_of_all_candidates_together() -> None:
    champion = off_by(TRUTH, 3.0, 9)
    forecast = TRUTH + 0.86 * (champion - TRUTH) + off_by(TRUTH, 0.9, 3) - TRUTH
    alone = judged(forecast, champion=old(champion))
    p = known(known(alone.look).tests["new"].p)
    assert alone.outcome == "promote"
    assert 0.025 / 3 < p < 0.025
    among = judged(forecast, champion + 9.0, champion - 9.0, champion=old(champion))
    assert (among.winner, among.outcome) == ("new", "keep")
    assert known(among.look).tests["new"].adjusted_p == 3 * p
    assert among.gates["champion"].reason == (
        f"the champion (old) is not beaten: p = {3 * p:.3g}, adjusted for 3 candidates, is not below 0.025"
        " over 60 windows"
    )


def test_a_candidate_that_is_the_champion_itself_is_not_counted() -> None:
    champion = off_by(TRUTH, 3.0, 9)
    record = judged(off_by(TRUTH, 1.0, 3), champion, champion=ChampionForecast("second", digest("second"), champion))
    assert list(known(record.look).tests) == ["new"]


def test_a_worse_challenger_does_not_beat_the_champion() -> None:
    verdict = judged(off_by(TRUTH, 6.0, 3), champion=old(off_by(TRUTH, 1.0, 4))).gates["champion"]
    assert verdict.passed is False
    assert verdict.reason == "the champion (old) is not beaten: p = 1 is not below 0.025 over 60 windows"


@pytest.mark.parametrize(
    ("origins", "reason"),
    [
        (30, "the champion (old) is not beaten: 30 windows are too few, the test needs at least 31"),
        (60, "the champion (old) is not beaten: the differences of the losses have no variance"),
    ],
)
def test_where_the_test_has_no_result_the_champion_stays_with_a_reason(origins: int, reason: str) -> None:
    truth = np.zeros((origins, 2, 1))
    candidates = [success("new", truth + 1.0)]
    verdict = decide(case_of(truth=truth, candidates=candidates, baselines=[], champion=old(truth + 9.0))).record.gates
    assert (verdict["champion"].passed, verdict["champion"].reason) == (False, reason)
    assert verdict["champion"].numbers["p"] is None


def test_the_gate_judges_the_composite_that_ranks_and_not_squared_errors_alone() -> None:
    rng = np.random.default_rng(8)
    steady = TRUTH + 3.0 + rng.normal(0.0, 0.1, TRUTH.shape)
    spikes = TRUTH + np.where(rng.random(TRUTH.shape) < 0.15, 9.0, 0.0)  # smaller absolute, larger squared errors
    rules = Evaluate(weights=Weights(rmse=0.0, mae=1.0, mse=0.0))
    assert judged(spikes, champion=old(steady), rules=rules).outcome == "promote"
    assert judged(spikes, champion=old(steady), rules=Evaluate(weights=Weights(rmse=1.0, mae=0.0))).outcome == "keep"


NOT_WORSE = Evaluate(gate="not-worse")


@pytest.mark.parametrize(("share", "outcome"), [(1.0, "promote"), (1.01, "promote"), (1.02, "keep"), (1.1, "keep")])
def test_not_worse_promotes_what_is_shown_to_be_within_the_margin(share: float, outcome: str) -> None:
    standing = off_by(TRUTH, 3.0, 4)
    forecast = TRUTH + share * (standing - TRUTH) + np.random.default_rng(3).normal(0.0, 0.01, TRUTH.shape)
    record = judged(forecast, champion=old(standing), rules=NOT_WORSE)
    assert record.outcome == outcome
    p = known(known(record.look).tests["new"].p)
    assert record.gates["champion"].reason == (
        f"new is{'' if outcome == 'promote' else ' not shown to be'} less than 2 % worse than the champion (old):"
        f" p = {p:.3g} is {'below' if outcome == 'promote' else 'not below'} 0.025 over 60 windows"
    )
    assert record.reasons[-1] == (
        "nominal error of this look: a candidate is promoted that is worse than old by 2 % or more, at most 2.5 %"
    )
    assert judged(forecast, champion=old(standing)).outcome == "keep"


def test_not_worse_is_measured_against_the_reference_and_not_against_the_champion() -> None:
    reference, champion = off_by(TRUTH, 1.0, 4), off_by(TRUTH, 6.0, 5)
    first = ChampionForecast("first", digest("first"), reference)
    record = judged(off_by(TRUTH, 3.0, 6), champion=old(champion), reference=first, rules=NOT_WORSE)
    assert record.outcome == "keep"
    assert known(record.champion).model == "old"
    assert known(record.look).against.model == "first"
    assert (
        "not shown to be less than 2 % worse than the last champion that was chosen by a test or by hand (first)"
        in (record.gates["champion"].reason)
    )
    assert known(known(record.certainty).champion).model == "old"
    silent = ChampionForecast("first", digest("first"), None, "a reason", promotion=1)
    kept = judged(off_by(TRUTH, 3.0, 6), champion=old(champion), reference=silent, rules=NOT_WORSE)
    assert (kept.outcome, kept.look) == ("keep", None)
    assert "(first of promotion 1) cannot be compared on these windows: a reason" in kept.gates["champion"].reason


def test_the_reasons_name_the_promotion_of_the_model_that_is_compared_with() -> None:
    reference = replace(old(off_by(TRUTH, 1.0, 4)), promotion=2)
    champion = ChampionForecast("old", digest("newer"), off_by(TRUTH, 6.0, 5), promotion=7)
    record = judged(off_by(TRUTH, 3.0, 6), champion=champion, reference=reference, rules=NOT_WORSE)
    assert "(old of promotion 2): p = " in record.gates["champion"].reason
    assert "worse than old of promotion 2 by 2 % or more" in record.reasons[-1]
    plain = judged(off_by(TRUTH, 3.0, 6), champion=champion)
    assert plain.gates["champion"].reason.startswith("beats the champion (old of promotion 7): p = ")
    assert "no better than old of promotion 7, " in plain.reasons[-1]
    numberless = judged(off_by(TRUTH, 3.0, 6), champion=replace(champion, promotion=None))
    assert numberless.decision_id == plain.decision_id
