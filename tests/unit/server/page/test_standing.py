"""What is said of a champion claims no more than was shown."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.judging import case_of, known, off_by, truth_of
from tests.support.stored import MOMENT, promoted

from flts.contracts.canonical import digest
from flts.contracts.records.decision import DecisionRecord, Interval, UnrankedRow
from flts.contracts.records.live import Live, LiveCoverage, LiveErrors, LiveModel, LiveSkill
from flts.contracts.records.log import Kind, LogEntry
from flts.evaluate.case import Baseline, Candidate
from flts.evaluate.decide import decide
from flts.promotion.words import NOT_COUNTED
from flts.server.page.shown import percent
from flts.server.page.standing import against_the_past, is_it_worse, kind, told

TRUTH = truth_of(200)


class Seasonal:
    """The part of a manifest that a season comes from."""

    class fitted:  # noqa: N801 - as in the manifest
        class grid:  # noqa: N801
            step = "1h"

    def __init__(self, *seasons: int) -> None:
        self.seasons = list(seasons)


def manifest(*seasons: int) -> Any:
    return Seasonal(*seasons)


def entry(model: str = "good", kind: Kind = "promote", restores: int | None = None) -> LogEntry:
    return LogEntry(
        scope="global",
        number=1,
        kind=kind,
        previous_sha256=None,
        decision_id=digest("d"),
        actor="tests",
        time=MOMENT,
        champion=promoted(model),
        restores=restores,
    )


def decided(**changes: Any) -> DecisionRecord:
    return decide(case_of(truth=TRUTH, **changes)).record


def with_lead(decision: DecisionRecord, name: str, interval: Interval | None, **changes: Any) -> DecisionRecord:
    """The same decision with another interval of a lead."""
    certainty = known(decision.certainty)
    lead = getattr(certainty, name).model_copy(update={"interval": interval, **changes})
    return decision.model_copy(update={"certainty": certainty.model_copy(update={name: lead})})


NOISE = Interval(low=-0.1, high=0.2)


def test_a_lead_beyond_the_noise_is_a_win() -> None:
    assert told(decided()).heading == "Why good won"


@pytest.mark.parametrize("interval", [NOISE, None, Interval(low=0.0, high=0.2)])
def test_a_lead_within_the_noise_or_untested_is_not_called_a_win(interval: Interval | None) -> None:
    assert told(with_lead(decided(), "runner_up", interval)).heading == "good leads, within the noise"


def test_one_model_alone_won_nothing() -> None:
    alone = [case_of(truth=TRUTH).candidates[0]]
    assert told(decided(candidates=alone)).heading == "good is the only model with a forecast"


def test_no_forecast_no_winner() -> None:
    failed = Candidate("bad", digest("bad"), "FAILED", "TrainingFailed: no luck")
    said = told(decided(candidates=[failed]))
    assert said.heading == "No model won"
    assert "bad failed: TrainingFailed: no luck" in said.doubts


def test_failures_and_warnings_are_doubts_and_what_is_not_counted_is_always_said() -> None:
    failed = UnrankedRow(status="FAILED", rank=None, model="bad", model_hash=digest("bad"), reason="no luck")
    decision = decided()
    said = told(decision.model_copy(update={"candidates": [*decision.candidates, failed]}))
    assert said.doubts == [*known(decision.certainty).warnings, "bad failed: no luck"]
    assert said.remarks[-1] == NOT_COUNTED
    assert said.reasons[: len(decision.reasons)] == decision.reasons


def test_better_than_the_past_names_the_season_and_both_scores() -> None:
    decision = decided()
    asked = against_the_past(entry(), decision, manifest(24, 168))
    good, seasonal = known(decision.row("good")), decision.ranked_baselines[0]
    assert seasonal.model == "seasonal_naive"
    assert (asked.answer, asked.tone) == ("Yes", "good")
    assert asked.details[0] == (
        f"Its error score is {percent(1.0 - good.score / seasonal.score)} lower than that of repeating the value 1 day"
        f" earlier ({good.score:.4f} against {seasonal.score:.4f}, 200 test windows)."
    )
    assert asked.details[-1] == "This lead is larger than the noise."


@pytest.mark.parametrize("interval", [NOISE, None])
def test_a_lead_over_the_past_within_the_noise_is_not_shown(interval: Interval | None) -> None:
    asked = against_the_past(entry(), with_lead(decided(), "best_baseline", interval), manifest(24))
    assert (asked.answer, asked.tone) == ("Not shown", "open")


def test_a_baseline_that_is_as_good_is_said_plainly() -> None:
    naive = Baseline("naive", off_by(TRUTH, 0.1, 5))
    asked = against_the_past(entry(), decided(baselines=[naive]), manifest())
    assert (asked.answer, asked.tone) == ("No", "bad")
    assert "higher than that of repeating the last value" in asked.details[0]


def test_both_baselines_are_named_where_the_last_value_is_the_better_one() -> None:
    baselines = [Baseline("naive", off_by(TRUTH, 4.0, 5)), Baseline("seasonal_naive", off_by(TRUTH, 8.0, 6))]
    asked = against_the_past(entry(), decided(baselines=baselines), manifest(24))
    assert "the value 1 day earlier" in asked.details[0]
    assert "the last value" in asked.details[1]


def test_a_champion_that_did_not_win_has_no_tested_lead() -> None:
    asked = against_the_past(entry("fair", "manual"), decided(), manifest(24))
    assert (asked.answer, asked.tone) == ("Lower error", "open")


@pytest.mark.parametrize("decision", [None, "other"])
def test_without_its_decision_nothing_is_claimed(decision: str | None) -> None:
    found = decided() if decision else None
    asked = against_the_past(entry("unknown"), found, manifest(24))
    assert (asked.answer, asked.tone) == ("Unknown", "open")


def test_how_a_model_became_champion() -> None:
    found = [kind(entry()), kind(entry(kind="manual")), kind(entry(kind="rollback", restores=7))]
    assert found == ["promoted by the judge", "promoted by hand", "a rollback to promotion 7"]


# --- is it getting worse?


def live(score: float, skill: float | None = 0.2, **changes: Any) -> Live:
    """Live errors of the champion whose RMSE, MAE and MSE are all `score`."""
    errors = LiveErrors(cells=90, rmse=score, mae=score, mse=score, targets={})
    worth = LiveSkill(
        baseline="seasonal_naive", season=24, cells=90, score=score, baseline_score=0.2, skill=skill, reason=None
    )
    champion = entry().champion
    model = LiveModel(
        model_hash=champion.model_hash, model_type="GOOD", promotions=[1], origins=300, errors=errors, skill=worth
    )
    fields: dict[str, Any] = {
        "scope": "global",
        "flts": "0",
        "made": MOMENT,
        "promotion": 1,
        "bundle_sha256": champion.bundle_sha256,
        "weights": {"rmse": 0.5, "mae": 0.3, "mse": 0.2},
        "truth": {"file": "t.csv", "sha256": digest("t"), "rows": 90, "first": MOMENT, "last": MOMENT},
        "days": {},
        "requests": 30,
        "first_origin": None,
        "last_origin": None,
        "awaiting": 0,
        "left_out": {},
        "errors": errors,
        "steps": [],
        "coverage": {"0.8": LiveCoverage(cells=90, coverage=0.7, width=0.1)},
        "skill": worth,
        "models": [model],
    }
    return Live.model_validate({**fields, **changes})


def test_few_origins_give_no_verdict() -> None:
    decision, seen = decided(), live(9.0, -1.0)
    needed = known(decision.certainty).windows_needed
    few = [model.model_copy(update={"origins": needed - 1}) for model in seen.models]
    asked = is_it_worse(seen.model_copy(update={"models": few}), entry(), decision)
    assert (asked.answer, asked.tone) == ("Too early to say", "open")
    assert str(needed) in asked.details[0]


@pytest.mark.parametrize(
    ("factor", "skill", "answer", "tone"),
    [
        (0.9, 0.2, "No", "good"),
        (1.0, 0.2, "No", "good"),
        (1.5, 0.2, "50.0 % more error", "open"),
        (1.5, None, "50.0 % more error", "open"),
        (1.5, 0.0, "Worse than repeating the past", "bad"),
        (0.9, -0.1, "Worse than repeating the past", "bad"),
    ],
)
def test_it_is_worse_where_its_live_error_says_so(factor: float, skill: float | None, answer: str, tone: str) -> None:
    decision = decided()
    before = known(decision.row("good")).score
    asked = is_it_worse(live(before * factor, skill), entry(), decision)
    assert (asked.answer, asked.tone) == (answer, tone)
    assert f"{before * factor:.4f} in 90 forecasts with truth, and {before:.4f} on the" in asked.details[0]
    assert "Its 80 % intervals held the truth in 70.0 % of 90." in asked.details


def test_what_was_not_measured_for_this_champion_is_not_claimed() -> None:
    decision = decided()
    for found in (None, live(0.1, bundle_sha256=digest("other")), live(0.1, models=[])):
        assert is_it_worse(found, entry(), decision).answer == "Not measured"
    assert is_it_worse(live(0.1), entry(), None).answer == "Not measured"


def test_coverage_of_several_models_is_not_put_down_to_the_champion() -> None:
    found = live(0.1)
    both = found.model_copy(update={"models": [*found.models, found.models[0]]})
    assert any(detail.startswith("All models' 80 %") for detail in is_it_worse(both, entry(), decided()).details)
