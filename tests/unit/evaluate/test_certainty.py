"""How certain a choice is, why each other model was not chosen, and limits that make a model ineligible."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.judging import case_of, known, off_by, success, truth_of

from flts.contracts.canonical import digest
from flts.evaluate.case import Baseline, Candidate
from flts.evaluate.decide import decide
from flts.evaluate.gate import ChampionForecast, Qualities, eligibility
from flts.evaluate.student import student_t_critical
from flts.spec.fields import Evaluate

TRUTH = truth_of(90)
GOOD, FAIR = off_by(TRUTH, 1.0, 3), off_by(TRUTH, 3.0, 4)


def with_intervals(name: str, forecast: np.ndarray, half_width: float, **more: Any) -> Candidate:
    levels = {
        level: (forecast - half_width * scale, forecast + half_width * scale)
        for level, scale in (("0.5", 0.5), ("0.8", 1.0), ("0.95", 2.0))
    }
    return replace(success(name, forecast), bounds=levels, **more)


def why_not(record: Any) -> dict[str, str]:
    return {row.model: row.why_not for row in record.why_not}


def test_every_model_but_the_winner_has_one_sentence() -> None:
    failed = Candidate("lstm", digest("lstm"), "FAILED", "TrainingFailed: the loss is not finite")
    absent = Candidate("automfles", digest("a"), "N/A", "NotApplicable: needs 48 rows")
    near = success("near", off_by(TRUTH, 1.0, 33))
    record = decide(
        case_of(truth=TRUTH, candidates=[success("good", GOOD), success("fair", FAIR), near, failed, absent])
    ).record
    sentences = why_not(record)
    assert set(sentences) | {record.winner} == {"good", "fair", "near", "lstm", "automfles"}
    assert sentences["fair"].startswith("its score ")
    assert sentences["fair"].endswith("excludes zero")
    assert sentences["near" if record.winner == "good" else "good"].endswith("contains zero")
    assert sentences["lstm"] == "failed: TrainingFailed: the loss is not finite"
    assert sentences["automfles"] == "not applicable: NotApplicable: needs 48 rows"


def test_certainty_comes_from_the_resampled_windows() -> None:
    record = decide(case_of(truth=TRUTH)).record
    assert record.sure == (
        "how sure: good is the best of 2 models in 100% of 1000 bootstrap resamples (blocks of 5 windows)"
    )
    assert known(record.certainty).best_share == 1.0
    alone = decide(case_of(truth=TRUTH, candidates=[success("good", GOOD)])).record
    assert alone.sure == "how sure: good is the only model with a forecast"
    assert known(record.certainty).resamples == 1000
    few = decide(case_of(truth=truth_of(5))).record
    assert known(few.certainty).resamples == 0
    assert few.sure == "how sure: unknown, 5 test windows are fewer than 10 blocks of 2"


def test_the_lead_over_the_champion_is_measured_when_it_is_another_model() -> None:
    old = ChampionForecast("ridge", digest("old"), off_by(TRUTH, 2.0, 9))
    record = decide(case_of(truth=TRUTH, champion=old)).record
    certainty = known(record.certainty)
    assert known(certainty.champion).model == "ridge"
    assert known(certainty.champion).lead > 0.0
    assert known(known(certainty.champion).test).adjusted_p == known(record.look).tests["good"].adjusted_p
    assert known(certainty.runner_up).model == "fair"
    assert known(certainty.best_baseline).model == "seasonal_naive"
    itself = ChampionForecast("good", digest("good"), GOOD)
    assert known(decide(case_of(truth=TRUTH, champion=itself)).record.certainty).champion is None
    silent = ChampionForecast("ridge", digest("old"), None, "another horizon")
    assert known(decide(case_of(truth=TRUTH, champion=silent)).record.certainty).champion is None


def test_every_score_on_the_board_has_a_profile_and_lies_in_its_interval() -> None:
    record = decide(case_of(truth=TRUTH)).record
    for row in [*record.ranked, *record.ranked_baselines]:
        assert known(row.score_interval).low < row.score < known(row.score_interval).high
        assert [at.step for at in row.profile.step] == [1, 2]
        assert sum(at.cells for at in row.profile.hour) == row.cells
        assert sum(at.cells for at in row.profile.weekday) == row.cells


def test_coverage_of_every_level_is_on_the_board_with_a_warning_about_that_of_the_winner() -> None:
    narrow = with_intervals("good", GOOD, 0.5)
    record = decide(case_of(truth=TRUTH, candidates=[narrow, success("fair", FAIR)])).record
    row = record.ranked[0]
    assert list(known(row.coverage)) == ["0.5", "0.8", "0.95"]
    assert (
        known(row.coverage)["0.5"].coverage < known(row.coverage)["0.8"].coverage < known(row.coverage)["0.95"].coverage
    )
    warnings = known(record.certainty).warnings
    assert any("the 80% intervals cover" in warning and "too narrow" in warning for warning in warnings)
    assert record.ranked[1].coverage is None
    fits = decide(case_of(truth=TRUTH, candidates=[with_intervals("good", GOOD, 1.2815515655)])).record
    assert not any("intervals cover" in warning for warning in known(fits.certainty).warnings)


@pytest.mark.parametrize(
    ("rules", "qualities", "passed"),
    [
        ({"min_coverage": 0.7}, Qualities(coverage=0.7), True),
        ({"min_coverage": 0.7}, Qualities(coverage=0.69), False),
        ({"min_coverage": 0.7}, Qualities(), False),
        ({"max_bundle_mb": 1.5}, Qualities(bundle_bytes=1_500_000), True),
        ({"max_bundle_mb": 1.5}, Qualities(bundle_bytes=1_500_001), False),
        ({"max_latency_ms": 5.0}, Qualities(latency_ms=5.0), True),
        ({"max_latency_ms": 5.0}, Qualities(latency_ms=5.1), False),
        ({"max_latency_ms": 5.0}, Qualities(), False),
    ],
)
def test_a_limit_is_met_or_not_with_its_numbers_in_the_verdict(
    rules: dict[str, float], qualities: Qualities, passed: bool
) -> None:
    ((name, verdict),) = eligibility(qualities, Evaluate(**rules)).items()  # type: ignore[arg-type]  # one of each kind
    assert verdict.passed is passed
    assert verdict.numbers[name] == rules[name]
    assert f"{name} = {rules[name]:g}" in verdict.reason


def test_limits_that_are_off_give_no_verdict() -> None:
    assert eligibility(Qualities(), Evaluate()) == {}


def test_the_best_model_within_the_limits_wins_and_a_better_one_is_ineligible() -> None:
    heavy = replace(success("good", GOOD), bundle_bytes=9_000_000)
    light = replace(success("fair", FAIR), bundle_bytes=1_000_000)
    record = decide(case_of(truth=TRUTH, candidates=[heavy, light], rules=Evaluate(max_bundle_mb=2.0))).record
    assert [(row.rank, row.model) for row in record.candidates] == [(1, "good"), (2, "fair")]
    assert record.winner == "fair"
    assert record.outcome == "promote"
    assert record.reasons[0] == (
        f"fair has the lowest score, {record.ranked[1].score:.4f}, of the models within the limits"
        " (2 were scored on the same windows)"
    )
    assert why_not(record)["good"] == "not eligible: the bundle has 9 MB, max_bundle_mb = 2"
    assert not record.ranked[0].limits["max_bundle_mb"].passed
    assert record.ranked[1].limits["max_bundle_mb"].passed


def test_when_no_model_is_within_the_limits_nothing_is_promoted() -> None:
    decision = decide(case_of(truth=TRUTH, rules=Evaluate(min_coverage=0.5)))
    assert (decision.outcome, decision.winner) == ("keep", None)
    assert decision.record.reasons == ["none of 2 models is within the limits of [evaluate]"]
    assert decision.record.candidates[0].rank == 1
    assert decision.record.certainty is None


def test_the_best_baseline_is_the_rival_even_when_it_leads() -> None:
    record = decide(case_of(truth=TRUTH, baselines=[Baseline("naive", off_by(TRUTH, 0.5))])).record
    assert known(known(record.certainty).best_baseline).lead < 0.0
    assert known(known(known(record.certainty).best_baseline).interval).high < 0.0


def test_the_reason_of_a_worse_model_gives_its_score_the_difference_and_the_interval_of_it() -> None:
    record = decide(case_of(truth=TRUTH)).record
    good, fair = (row.score for row in record.ranked)
    lead = known(known(record.certainty).runner_up)
    assert lead.lead == fair - good
    assert lead.relative_lead == pytest.approx((fair - good) / fair)
    assert why_not(record)["fair"] == (
        f"its score {fair:.4f} is {fair - good:.4f} worse ({(fair - good) / fair:+.1%}); the 95 % interval of the"
        f" difference, {known(lead.interval).low:+.4f} to {known(lead.interval).high:+.4f}, excludes zero"
    )


def test_without_resampled_windows_the_reason_of_a_worse_model_gives_the_difference_alone() -> None:
    truth = truth_of(5)
    record = decide(case_of(truth=truth)).record
    first, second = (row.score for row in record.ranked)
    relative = f"{(second - first) / second:+.1%}"
    assert list(why_not(record).values()) == [f"its score {second:.4f} is {second - first:.4f} worse ({relative})"]


def test_a_tie_is_a_lead_of_zero_and_against_a_perfect_rival_no_relative_lead_is_given() -> None:
    equal = [success("one", TRUTH), success("two", TRUTH)]
    record = decide(case_of(truth=TRUTH, candidates=equal, baselines=[Baseline("naive", TRUTH)])).record
    (reason,) = why_not(record).values()
    assert reason == (
        "its score 0.0000 is 0.0000 worse; the 95 % interval of the difference, +0.0000 to +0.0000, contains zero"
    )
    (second,) = why_not(record)
    assert known(record.certainty).warnings == [
        f"the lead over the runner-up {second} is smaller than the noise: its 95 % interval contains zero",
        "no model beats the baseline naive: a forecast that anyone can make is at least as good",
    ]


def test_a_lead_within_the_noise_over_baseline_and_champion_gives_a_warning_for_each() -> None:
    first, second, third = (off_by(TRUTH, 3.0, seed) for seed in (3, 4, 5))
    best, *rest = sorted((first, second, third), key=lambda forecast: float(((forecast - TRUTH) ** 2).mean()))
    record = decide(
        case_of(
            truth=TRUTH,
            candidates=[success("only", best)],
            baselines=[Baseline("naive", rest[0])],
            champion=ChampionForecast("ridge", digest("old"), rest[1]),
        )
    ).record
    assert known(record.certainty).warnings == [
        "the lead over the baseline naive is smaller than the noise: its 95 % interval contains zero",
        "the lead over the champion ridge is smaller than the noise: its 95 % interval contains zero",
    ]


def test_long_horizons_need_more_windows_whatever_the_number_of_targets() -> None:
    truth = truth_of(95, 12)
    good, fair = off_by(truth, 1.0, 3), off_by(truth, 3.0, 4)
    sized = replace(success("good", good), bounds={"0.8": (good - 1.0, good + 1.0)})
    champion = ChampionForecast("old", digest("old"), off_by(truth, 2.0, 9))
    record = decide(case_of(truth=truth, candidates=[sized, success("fair", fair)], champion=champion)).record
    certainty = known(record.certainty)
    assert (certainty.block, certainty.resamples, certainty.best_share) == (12, 0, None)
    assert known(certainty.runner_up).interval is None
    reason = "95 windows are too few, the test needs at least 96"
    assert known(known(certainty.runner_up).test).reason == reason
    assert certainty.smallest_lead is None
    assert certainty.warnings[1:] == [
        f"whether the lead over the {rival} is more than noise is unknown: {reason}"
        for rival in ("runner-up fair", "baseline seasonal_naive", "champion old")
    ]
    assert record.gates["champion"].numbers["degrees"] == 3
    assert record.ranked[0].score_interval is None
    assert known(record.ranked[0].coverage)["0.8"].interval is None


@pytest.mark.parametrize(
    ("rules", "qualities", "reason"),
    [
        (
            {"min_coverage": 0.7},
            Qualities(coverage=0.654),
            "the 80 % interval covers 65.4% of the test cells, min_coverage = 0.7",
        ),
        ({"max_bundle_mb": 1.5}, Qualities(bundle_bytes=2_345_678), "the bundle has 2.35 MB, max_bundle_mb = 1.5"),
        ({"max_latency_ms": 5.0}, Qualities(latency_ms=7.25), "a forecast takes 7.25 ms, max_latency_ms = 5"),
        ({"min_coverage": 0.7}, Qualities(), "min_coverage = 0.7 is required, but no value was measured"),
    ],
)
def test_the_reason_of_a_limit_that_is_not_met_gives_the_value_and_the_limit(
    rules: dict[str, float], qualities: Qualities, reason: str
) -> None:
    ((name, verdict),) = eligibility(qualities, Evaluate(**rules)).items()  # type: ignore[arg-type]  # one of each kind
    value = qualities.coverage or qualities.latency_ms or (qualities.bundle_bytes and qualities.bundle_bytes / 1e6)
    assert (verdict.passed, verdict.reason) == (False, reason)
    assert verdict.numbers == {name: rules[name], "value": value}


def test_the_limits_apply_to_the_measured_coverage_the_bundle_and_the_latency_of_each_model() -> None:
    rules = Evaluate(min_coverage=0.6, max_bundle_mb=2.0, max_latency_ms=5.0)
    small = {"bundle_bytes": 1_000_000, "latency_ms": 1.0}
    narrow = with_intervals("narrow", GOOD, 0.5, **small)
    slow = with_intervals("slow", off_by(TRUTH, 1.5, 6), 9.0, bundle_bytes=3_000_000, latency_ms=6.0)
    fits = with_intervals("fits", FAIR, 9.0, **small)
    record = decide(case_of(truth=TRUTH, candidates=[narrow, slow, fits], rules=rules)).record
    covered = float(np.mean(np.abs(GOOD - TRUTH) <= 0.5))
    assert covered < 0.6
    assert record.winner == "fits"
    assert why_not(record) == {
        "narrow": f"not eligible: the 80 % interval covers {covered:.1%} of the test cells, min_coverage = 0.6",
        "slow": "not eligible: the bundle has 3 MB, max_bundle_mb = 2; a forecast takes 6 ms, max_latency_ms = 5",
    }
    assert record.ranked[0].limits["min_coverage"].numbers == {"min_coverage": 0.6, "value": covered}


def test_the_smallest_lead_is_that_over_the_champion_at_the_level_that_candidates_share() -> None:
    old = ChampionForecast("ridge", digest("old"), off_by(TRUTH, 2.0, 9))
    record = decide(case_of(truth=TRUTH, champion=old, spans=1.0)).record
    smallest, lead = known(known(record.certainty).smallest_lead), known(known(record.certainty).champion)
    test, level = known(lead.test), 0.05 / 18 / 2
    assert smallest.over == "ridge"
    assert smallest.level == pytest.approx(level)
    assert smallest.lead == pytest.approx(student_t_critical(smallest.level, test.degrees) * known(test.standard_error))
    assert known(smallest.relative) == pytest.approx(smallest.lead / (record.ranked[0].score + lead.lead))


@pytest.mark.parametrize("champion", [None, ChampionForecast("good", digest("good"), GOOD)])
def test_without_another_champion_the_smallest_lead_is_that_over_the_runner_up_at_five_percent(
    champion: ChampionForecast | None,
) -> None:
    record = decide(case_of(truth=TRUTH, champion=champion)).record
    smallest, test = known(known(record.certainty).smallest_lead), known(known(known(record.certainty).runner_up).test)
    assert (smallest.over, smallest.level) == ("fair", 0.05)
    assert smallest.lead == pytest.approx(student_t_critical(0.05, test.degrees) * known(test.standard_error))
    alone = decide(case_of(truth=TRUTH, candidates=[success("good", GOOD)], champion=champion)).record
    assert known(alone.certainty).smallest_lead is None


def test_the_lead_over_the_champion_keeps_its_own_test_where_the_gate_has_a_margin() -> None:
    old = ChampionForecast("ridge", digest("old"), off_by(TRUTH, 2.0, 9))
    record = decide(case_of(truth=TRUTH, champion=old, rules=Evaluate(gate="not-worse", margin=0.5))).record
    lead = known(known(record.certainty).champion)
    assert known(lead.test).mean_difference == pytest.approx(-lead.lead)
    assert known(lead.test).adjusted_p is None


def test_origins_without_truth_are_no_windows() -> None:
    longer = np.concatenate([TRUTH, np.full((9, 2, 1), np.nan)])
    padded = [success(name, np.concatenate([f, np.ones((9, 2, 1))])) for name, f in (("good", GOOD), ("fair", FAIR))]
    plain = decide(case_of(truth=TRUTH, candidates=[success("good", GOOD), success("fair", FAIR)], baselines=[])).record
    assert decide(case_of(truth=longer, candidates=padded, baselines=[])).record.certainty == plain.certainty
