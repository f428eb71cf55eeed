"""What holds for every decision: the order of its parts does not matter, and no candidate beats the winner."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.judging import clock_of, off_by, success, truth_of, windows_of, yardstick_of

from flts.contracts.canonical import digest
from flts.evaluate.case import Baseline, Candidate, Case
from flts.evaluate.decide import decide
from flts.evaluate.gate import ChampionForecast
from flts.spec.fields import Evaluate

NAMES = ("gru", "lstm", "prophet", "automfles", "ridge")


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any number of candidates that won, failed or tie, any baselines, with and without a champion."""
    truth = truth_of(
        draw(st.integers(1, 40)), draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(0, 99))
    )
    empty = draw(st.lists(st.integers(1, max(1, len(truth) - 1)), max_size=3))
    truth[[i for i in empty if i < len(truth)]] = np.nan
    forecasts = {error: off_by(truth, error, seed=9) for error in (0.0, 1.0, 2.0, 8.0)}
    errors = st.sampled_from([*forecasts, None])
    candidates = []
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5)):
        error = draw(errors)
        candidates.append(
            Candidate(name, digest(name), draw(st.sampled_from(["FAILED", "N/A"])), "a reason")
            if error is None
            else success(name, forecasts[error])
        )
    baselines = []
    for name in draw(st.lists(st.sampled_from(["naive", "seasonal_naive", "mean"]), unique=True)):
        error = draw(errors)
        baselines.append(Baseline(name, None if error is None else forecasts[error], "a reason"))
    standing = draw(errors)
    champion = None if standing is None else ChampionForecast("ridge", digest("ridge"), forecasts[standing])
    earlier = draw(errors)
    reference = (
        None if earlier is None or champion is None else ChampionForecast("gru", digest("g"), forecasts[earlier])
    )
    rules = Evaluate(
        gate=draw(st.sampled_from(["always", "beats-champion", "not-worse"])),
        min_skill=draw(st.sampled_from(["warn", "off", 0.1])),
    )
    fields: dict[str, Any] = {
        "yardstick": yardstick_of(truth.shape[2]),
        "rules": rules,
        "windows": windows_of(truth),
        "seed": 1,
        "reference": reference,
        "spans": draw(st.floats(0.0, 20.0)),
    }
    return Case("global", digest("c"), candidates, baselines, champion, truth, clock_of(truth), spacing=1.0, **fields)


@settings(deadline=None)  # a slow machine is not a defect
@given(cases(), st.data())
def test_any_permutation_of_candidates_and_baselines_gives_the_identical_record(
    case: Case, data: st.DataObject
) -> None:
    shuffled = replace(
        case,
        candidates=data.draw(st.permutations(list(case.candidates))),
        baselines=data.draw(st.permutations(list(case.baselines))),
    )
    assert decide(shuffled).record.to_bytes() == decide(case).record.to_bytes()


@settings(deadline=None)  # a slow machine is not a defect
@given(cases())
def test_the_winner_has_the_minimal_score_and_a_promotion_passed_every_gate(case: Case) -> None:
    decision = decide(case)
    scores = [row.score for row in decision.record.ranked]
    assert scores == sorted(scores)
    assert (decision.winner is None) == (not scores) == (decision.outcome == "none")
    assert len(decision.record.candidates) == len(case.candidates)
    if decision.winner is not None:
        assert decision.record.candidates[0].model == decision.winner.name
        passed = all(verdict.passed for verdict in decision.record.gates.values())
        assert (decision.outcome == "promote") is passed


@settings(deadline=None)  # a slow machine is not a defect
@given(cases())
def test_the_same_case_gives_the_same_decision_twice(case: Case) -> None:
    assert decide(case).record.to_bytes() == decide(case).record.to_bytes()
    assert decide(case).decision_id == decide(case).decision_id
