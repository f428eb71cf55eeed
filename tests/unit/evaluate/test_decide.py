"""One decision from one set of results."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.judging import case_of, known, off_by, success, truth_of, windows_of, yardstick_of

from flts.contracts.canonical import digest
from flts.contracts.records.base import parse_record
from flts.contracts.records.decision import (
    AbsentBaseline,
    CandidateRow,
    ChampionName,
    DecisionRecord,
    UnrankedRow,
    YardstickRecord,
)
from flts.evaluate.case import Baseline, Candidate, Case
from flts.evaluate.decide import Decision, decide
from flts.evaluate.gate import ChampionForecast
from flts.spec.fields import Evaluate, Weights

TRUTH = truth_of()
FAILED = Candidate("lstm", digest("lstm"), "FAILED", "TrainingFailed: the loss is not finite")
NOT_APPLICABLE = Candidate("automfles", digest("automfles"), "N/A", "NotApplicable: needs 48 rows")


def board(decision: Decision) -> dict[str, CandidateRow]:
    return {row.model: row for row in decision.record.ranked}


def composite_by_loops(case: Case, forecast: np.ndarray) -> float:
    pairs = zip(forecast.ravel().tolist(), case.truth.ravel().tolist(), strict=True)
    errors = [(f - t) / 40.0 for f, t in pairs if not math.isnan(t)]
    mse = sum(e * e for e in errors) / len(errors)
    mae = sum(abs(e) for e in errors) / len(errors)
    weights = case.rules.weights
    return float(weights.rmse * math.sqrt(mse) + weights.mae * mae + weights.mse * mse)


def test_the_decision_id_is_the_digest_of_exactly_the_documented_inputs() -> None:
    champion = ChampionForecast("old", digest("old"), off_by(TRUTH, 8.0, 9))
    case = case_of(champion=champion, spans=0.5)
    case = replace(case, candidates=[*case.candidates, FAILED, NOT_APPLICABLE])
    decision = decide(case)
    expected = digest(
        {
            "scope": "global",
            "config_hash": digest("config"),
            "candidates": [
                ["automfles", digest("automfles"), "N/A", None],
                ["fair", digest("fair"), "SUCCESS", digest(["fair", "forecasts"])],
                ["good", digest("good"), "SUCCESS", digest(["good", "forecasts"])],
                ["lstm", digest("lstm"), "FAILED", None],
            ],
            "champion": digest("old"),
            "reference": digest("old"),
            "look": [0.5, 0.00625],
            "referees": {row.model: row.score for row in decision.record.ranked_baselines},
        }
    )
    assert decision.decision_id == decision.record.decision_id == expected


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "other"},
        {"config_hash": digest("other")},
        {"champion": ChampionForecast("old", digest("old"), None, "why not")},
        {"reference": ChampionForecast("old", digest("old"), None, "why not")},
        {"spans": 0.1},
        {"baselines": [Baseline("naive", off_by(TRUTH, 6.5, 5))]},
        {"candidates": [success("good", off_by(TRUTH, 1.0, 3))]},
        {"candidates": [success("good", off_by(TRUTH, 1.0, 3)), FAILED]},
    ],
)
def test_the_decision_id_moves_with_every_documented_input(changes: dict[str, Any]) -> None:
    assert decide(case_of(**changes)).decision_id != decide(case_of()).decision_id


@pytest.mark.parametrize(
    "changes",
    [
        {"windows": windows_of(TRUTH, dropped=3)},
        {"seed": 7},
        {"baselines": [*case_of().baselines, Baseline("other", None, "needs a season")]},
        {"candidates": [replace(c, bundle_sha256=digest("other")) for c in case_of().candidates]},
    ],
)
def test_the_decision_id_does_not_move_with_anything_else(changes: dict[str, Any]) -> None:
    assert decide(case_of(**changes)).decision_id == decide(case_of()).decision_id


def test_the_record_is_the_same_byte_for_byte_in_whatever_order_its_parts_are_listed() -> None:
    case = case_of()
    candidates = [*case.candidates, FAILED, NOT_APPLICABLE]
    baselines = [*case.baselines, Baseline("b", None, "second"), Baseline("a", None, "first")]
    records = {
        decide(replace(case, candidates=c, baselines=r)).record.to_bytes()
        for c in itertools.permutations(candidates)
        for r in itertools.permutations(baselines, len(baselines))
    }
    assert len(records) == 1


@pytest.mark.parametrize("weights", [Weights(), Weights(rmse=0.0, mae=1.0, mse=0.0), Weights(rmse=0.0, mae=0.0)])
def test_the_winner_is_that_of_a_brute_force_search(weights: Weights) -> None:
    truth = truth_of(40, 3, 2)
    truth[5] = np.nan
    candidates = [success(f"m{i}", off_by(truth, 2.0 + 0.01 * i, 10 + i)) for i in range(8)]
    case = case_of(truth=truth, candidates=candidates, baselines=[], rules=Evaluate(weights=weights))
    decision = decide(case)
    scores = {c.name: composite_by_loops(case, c.forecast) for c in candidates if c.forecast is not None}
    assert decision.winner is not None
    assert decision.winner.name == decision.record.winner == min(scores, key=lambda name: scores[name])
    assert [row.model for row in decision.record.candidates] == sorted(scores, key=lambda name: scores[name])
    for name, row in board(decision).items():
        assert row.score == pytest.approx(scores[name], rel=1e-12)


def test_candidates_without_a_forecast_come_last_without_a_rank_and_with_their_reason() -> None:
    case = case_of(candidates=[FAILED, success("zzz", off_by(TRUTH, 20.0)), NOT_APPLICABLE])
    rows = decide(case).record.candidates
    assert [(row.rank, row.model, row.status) for row in rows] == [
        (1, "zzz", "SUCCESS"),
        (None, "automfles", "N/A"),
        (None, "lstm", "FAILED"),
    ]
    without = [row for row in rows if isinstance(row, UnrankedRow)]
    assert [row.reason for row in without] == [NOT_APPLICABLE.reason, FAILED.reason]


def test_without_any_forecast_the_outcome_is_none_with_a_reason() -> None:
    decision = decide(case_of(candidates=[FAILED, NOT_APPLICABLE]))
    assert (decision.outcome, decision.winner, decision.record.winner) == ("none", None, None)
    assert decision.record.reasons == ["no candidate has a forecast, so there is nothing to promote"]
    assert (decision.record.gates, decision.record.certainty) == ({}, None)
    assert [row.model for row in decision.record.baselines] == ["seasonal_naive", "naive"]


def test_the_first_winner_is_promoted_with_its_score_and_both_verdicts_as_reasons() -> None:
    decision = decide(case_of())
    score = board(decision)["good"].score
    assert decision.outcome == decision.record.outcome == "promote"
    assert decision.record.reasons[0] == f"good has the lowest score, {score:.4f}, of 2 models on the same windows"
    assert decision.record.reasons[1:] == [decision.record.gates[name].reason for name in ("min_skill", "champion")]
    assert decision.record.sure == (
        "how sure: good is the best of 2 models in 100% of 1000 bootstrap resamples (blocks of 4 windows)"
    )


def test_a_single_model_is_not_described_as_the_best_of_several() -> None:
    decision = decide(case_of(candidates=[success("good", off_by(TRUTH, 1.0)), FAILED]))
    assert decision.record.reasons[0] == (
        f"good is the only model with a forecast, score {board(decision)['good'].score:.4f}"
    )
    assert known(decision.record.certainty).chosen_among == 1
    assert known(decision.record.certainty).runner_up is None


@pytest.mark.parametrize(
    ("error", "min_skill", "outcome"),
    [
        (1.0, 0.5, "promote"),
        (1.0, 0.99, "keep"),
        (9.0, 0.0, "keep"),
        (9.0, "warn", "promote"),
        (9.0, "off", "promote"),
    ],
)
def test_a_skill_below_a_numeric_minimum_promotes_nothing_and_warn_promotes_with_a_warning(
    error: float, min_skill: Any, outcome: str
) -> None:
    rules = Evaluate(min_skill=min_skill)
    decision = decide(case_of(candidates=[success("only", off_by(TRUTH, error))], rules=rules))
    assert decision.outcome == outcome
    assert decision.record.winner == "only"
    beaten = "no model beats the baseline seasonal_naive: a forecast that anyone can make is at least as good"
    assert (beaten in known(decision.record.certainty).warnings) is (error > 5.0)


def test_a_champion_that_is_not_beaten_stays_although_the_winner_is_named() -> None:
    decision = decide(case_of(champion=ChampionForecast("old", digest("old"), off_by(TRUTH, 0.1, 9))))
    assert (decision.outcome, decision.record.winner) == ("keep", "good")
    assert decision.record.champion == ChampionName(model="old", model_hash=digest("old"))
    assert decision.record.gates["min_skill"].passed
    assert not decision.record.gates["champion"].passed


def test_skill_is_against_the_best_baseline_and_also_against_naive() -> None:
    decision = decide(case_of())
    baselines = {row.model: row.score for row in decision.record.ranked_baselines}
    row = board(decision)["good"]
    assert row.skill == pytest.approx(1 - row.score / min(baselines.values()))
    assert row.skill_vs_naive == pytest.approx(1 - row.score / baselines["naive"])


def test_without_baselines_skill_is_none_and_without_naive_only_skill_against_naive() -> None:
    alone = board(decide(case_of(baselines=[])))["good"]
    assert (alone.skill, alone.skill_vs_naive) == (None, None)
    seasonal = board(decide(case_of(baselines=case_of().baselines[1:])))["good"]
    assert seasonal.skill is not None
    assert seasonal.skill_vs_naive is None


def test_a_baseline_that_does_not_apply_is_listed_last_with_its_reason() -> None:
    baselines = [Baseline("seasonal_naive", None, "needs a season"), Baseline("naive", off_by(TRUTH, 6.0))]
    rows = decide(case_of(baselines=baselines)).record.baselines
    assert [row.model for row in rows] == ["naive", "seasonal_naive"]
    assert rows[1] == AbsentBaseline(status="N/A", model="seasonal_naive", reason="needs a season")


@pytest.mark.parametrize(("origins", "horizon", "needed"), [(30, 2, 31), (95, 12, 96)])
def test_too_few_windows_give_a_warning_with_the_number_needed(origins: int, horizon: int, needed: int) -> None:
    certainty = known(decide(case_of(truth=truth_of(origins, horizon))).record.certainty)
    assert (certainty.windows, certainty.windows_needed) == (origins, needed)
    assert certainty.warnings[0] == (
        f"{origins} test windows are too few for a reliable ranking: at least {needed} are needed"
    )


@pytest.mark.parametrize(("origins", "horizon"), [(31, 2), (96, 12)])
def test_exactly_as_many_windows_as_needed_give_no_warning(origins: int, horizon: int) -> None:
    warnings = known(decide(case_of(truth=truth_of(origins, horizon))).record.certainty).warnings
    assert not any("too few" in warning for warning in warnings)


def test_enough_windows_and_a_clear_lead_give_no_warning() -> None:
    certainty = known(decide(case_of()).record.certainty)
    assert certainty.warnings == []
    for stored, rival in ((certainty.runner_up, "fair"), (certainty.best_baseline, "seasonal_naive")):
        lead = known(stored)
        assert lead.model == rival
        assert 0.0 < known(lead.interval).low < lead.lead < known(lead.interval).high
        assert known(known(lead.test).p) < 0.05


def test_a_lead_within_the_noise_gives_a_warning_that_names_the_rival() -> None:
    near = [success("one", off_by(TRUTH, 3.0, 3)), success("two", off_by(TRUTH, 3.0, 4))]
    decision = decide(case_of(candidates=near, baselines=[Baseline("naive", off_by(TRUTH, 3.05, 5))]))
    first, second = (row.model for row in decision.record.candidates)
    warnings = known(decision.record.certainty).warnings
    assert (
        f"the lead over the runner-up {second} is smaller than the noise: its 95 % interval contains zero" in warnings
    )
    assert decision.record.winner == first
    ahead = known(known(decision.record.certainty).best_baseline).lead > 0.0
    about_naive = [warning for warning in warnings if "baseline naive" in warning]
    assert len(about_naive) == 1
    assert ("the lead over the baseline naive is smaller than the noise" in about_naive[0]) is ahead


def test_the_record_is_plain_json_and_stores_the_scale_of_the_errors() -> None:
    decision = decide(case_of(yardstick=yardstick_of(season_error=None)))
    assert parse_record(DecisionRecord, decision.record.to_bytes(), "a decision") == decision.record
    assert decision.record.yardstick == YardstickRecord(
        targets=["y0"], width=[40.0], season_error=None, no_mase="too short"
    )
    assert board(decision)["good"].mase is None
    assert decide(case_of()).record.yardstick.season_error == [4.0]


def test_a_record_names_its_case_and_the_hashes_of_models_without_a_forecast() -> None:
    case = replace(case_of(), candidates=[*case_of().candidates, FAILED])
    record = decide(case).record
    assert (record.scope, record.config_hash, record.windows) == ("global", digest("config"), case.windows)
    assert record.candidates[-1].model_hash == digest("lstm")


def test_the_skill_gate_names_the_baseline_that_the_skill_is_against() -> None:
    record = decide(case_of()).record
    skill = record.ranked[0].skill
    verdict = record.gates["min_skill"]
    assert verdict.numbers == {"min_skill": Evaluate().min_skill, "skill": skill, "referee": "seasonal_naive"}
    assert verdict.reason == f"skill {skill:+.1%} against seasonal_naive"
    alone = decide(case_of(baselines=[])).record.gates["min_skill"]
    assert alone.reason == "no baseline has a forecast"


def test_the_same_case_gives_the_same_record_twice_and_the_seed_is_that_of_the_resamples_alone() -> None:
    near = [success("one", off_by(TRUTH, 3.0, 3)), success("two", off_by(TRUTH, 3.0, 4))]
    sized = [replace(candidate, bounds={"0.8": (TRUTH - 1.0, TRUTH + 1.0)}) for candidate in near]
    case = case_of(candidates=sized)
    assert decide(case).record == decide(case).record
    first, second = (decide(replace(case, seed=seed)).record for seed in (1, 2))
    assert known(first.certainty).best_share != known(second.certainty).best_share
    assert first.candidates == second.candidates


def test_the_row_of_a_candidate_says_how_many_windows_are_adaptive_and_what_both_kinds_cover() -> None:
    good = off_by(TRUTH, 1.0, 3)
    wide, narrow = ({"0.8": (good - half, good + half)} for half in (2.0, 0.5))
    sized = replace(success("good", good), bounds=wide, static_bounds=narrow, adaptive=7)
    row = board(decide(case_of(candidates=[sized])))["good"]
    inside = np.abs(TRUTH - good)[~np.isnan(TRUTH)] <= 0.5
    assert row.adaptive == 7
    assert known(row.static_coverage)["0.8"] == pytest.approx(inside.mean())
    assert known(row.coverage)["0.8"].coverage > known(row.static_coverage)["0.8"]
    static = board(decide(case_of(candidates=[replace(sized, adaptive=0)])))["good"]
    assert (static.adaptive, static.static_coverage) == (0, None)
