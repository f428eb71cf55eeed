"""Decisions, without their sentences, and the rules in them that a decision reaches only at a limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python
from tests.support.judging import case_of, off_by, success, truth_of, windows_of, yardstick_of
from tests.support.wording import without_sentences

from flts.contracts.canonical import canonical_json, digest
from flts.contracts.records.decision import Coverage, Interval
from flts.evaluate.bootstrap import block_length, enough_blocks, resampled_sums
from flts.evaluate.case import Baseline, Candidate, Case
from flts.evaluate.coverage import measured, miscalibration
from flts.evaluate.decide import decide
from flts.evaluate.gate import ChampionForecast, Qualities, eligibility, skill_gate
from flts.evaluate.look import holm, level_of, spans_since
from flts.evaluate.score import skill
from flts.evaluate.significance import mean_of, overlap
from flts.evaluate.student import student_t_cdf, student_t_critical
from flts.forecasting.intervals import half_widths
from flts.preprocess.rows import Values
from flts.spec.fields import Evaluate, Weights

ERRORS = (("good", 2.0, 3), ("fair", 3.0, 4), ("poor", 6.0, 7))
"""The candidates to judge: name, standard deviation of the error, seed."""
EPSILON = float(np.finfo(float).eps)
Outputs = Mapping[str, Any]


def cases() -> Outputs:
    """The outputs of every case by name."""
    return {
        "not significant": not_significant(),
        "rich": numbers(rich()),
        "plain": numbers(case_of()),
        "few windows": numbers(case_of(truth=truth_of(5))),
        "no forecast": numbers(case_of(candidates=[FAILED, NOT_APPLICABLE])),
        "no coverage": brief(case_of(rules=Evaluate(min_coverage=0.5))),
        "champions": champions(),
        "ties": ties(),
        "windows needed": windows_needed(),
        "no lead": no_lead(),
        "limits": limits(),
        "skill": skills(),
        "noise": noise(),
        "looks": looks(),
        "intervals": intervals(),
    }


def numbers(case: Case) -> Outputs:
    """A whole decision without its sentences."""
    record = to_jsonable_python(decide(case).record, by_alias=True)
    del record["windows"], record["preview_sha256"]  # inputs of the case, and added by the judge
    decision: Outputs = without_sentences(json.loads(canonical_json(record)))
    return decision


def brief(case: Case) -> Outputs:
    """What is decided, in which order, and what it rests on."""
    decision = numbers(case)
    kept = ("outcome", "winner", "champion", "gates", "reasons", "why_not")
    limits = {row["model"]: row.get("limits") for row in decision["candidates"]}
    return {key: decision[key] for key in kept} | {"limits": limits, "order": list(limits)}


def not_significant() -> Outputs:
    """The winner is better than the champion, but not significantly at 5 %."""
    truth = rounded(truth_of(origins=80, horizon=3, targets=2))

    def forecast(error: float, seed: int) -> Values:
        return rounded(off_by(truth, error, seed))

    def sized(name: str, error: float, seed: int) -> Candidate:
        mean = forecast(error, seed)
        wide, narrow = ({"0.5": (mean - w, mean + w), "0.8": (mean - w - 1.0, mean + w)} for w in (1.5, 1.0))
        return replace(success(name, mean), bounds=wide, static_bounds=narrow, adaptive=7)

    return numbers(
        case_of(
            truth=truth,
            candidates=[sized(name, error, seed) for name, error, seed in ERRORS],
            champion=ChampionForecast("champion", digest("champion"), forecast(2.1, 9)),
        )
    )


FAILED = Candidate("lstm", digest("lstm"), "FAILED", "TrainingFailed: the loss is not finite")
NOT_APPLICABLE = Candidate("automfles", digest("automfles"), "N/A", "NotApplicable: needs 48 rows")


def rich() -> Case:
    """Every kind of row, interval, gate and limit that a decision may hold, and cells without truth."""
    truth = rounded(truth_of())
    truth[[3, 17]] = np.nan
    truth[20, 1] = np.nan
    good = off_by(truth, 1.0, 3)
    sized = replace(success("good", good), bounds={"0.8": (good - 1.0, good + 1.0)}, bundle_bytes=10)
    case = case_of(
        truth=truth,
        candidates=[sized, success("fair", off_by(truth, 3.0, 4)), FAILED, NOT_APPLICABLE],
        champion=ChampionForecast("old", digest("old"), off_by(truth, 8.0, 9)),
        rules=Evaluate(max_bundle_mb=1.0),
        yardstick=yardstick_of(season_error=None),
    )
    return replace(case, baselines=[*case.baselines, Baseline("mean", None, "no reason")])


def champions() -> Outputs:
    """The gate against each kind of champion, under both rules."""
    truth = truth_of()
    rivals = {
        "none": None,
        "worse": ChampionForecast("old", digest("old"), off_by(truth, 8.0, 9)),
        "better": ChampionForecast("old", digest("old"), off_by(truth, 0.1, 9)),
        "not comparable": ChampionForecast("old", digest("old"), None, "a reason"),
        "the winner itself": ChampionForecast("good", digest("good"), off_by(truth, 1.0, 3)),
    }
    return {
        f"{name}, {gate}": brief(case_of(truth=truth, champion=champion, rules=Evaluate(gate=gate)))
        for name, champion in rivals.items()
        for gate in ("beats-champion", "not-worse", "always")
    }


def ties() -> Outputs:
    """The order of candidates with equal scores: first by MAE, then by model_hash, and never by name."""
    truth = np.full((40, 2, 1), 50.0)
    apart, near = truth.copy(), truth.copy()
    apart[:, 0] += 5.0  # squares 25 and 0, absolute errors 5 and 0
    near += np.array([3.0, 4.0])[None, :, None]  # squares 9 and 16, absolute errors 3 and 4
    last, first = "f" * 64, "0" * 64
    by_mae = [replace(success("a", near), model_hash=first), replace(success("b", apart), model_hash=last)]
    by_hash = [replace(success("a", near), model_hash=last), replace(success("b", near), model_hash=first)]
    baselines = [Baseline("z", near + 4.0), Baseline("y", near + 4.0)]

    def order(candidates: list[Candidate], weights: Weights) -> list[str]:
        rules = Evaluate(weights=weights)
        scale = yardstick_of(width=1.0)
        case = case_of(truth=truth, candidates=candidates, baselines=baselines, rules=rules, yardstick=scale)
        record = decide(case).record
        return [row.model for row in (*record.candidates, *record.baselines)]

    squares = Weights(rmse=0.0, mae=0.0, mse=1.0)
    return {"by MAE": order(by_mae, squares), "by hash": order(by_hash, squares), "scores": order(by_mae, Weights())}


def windows_needed() -> Outputs:
    """How many windows are called enough, and the number of warnings below that."""
    found = {}
    for origins, horizon in ((30, 2), (31, 2), (95, 12), (96, 12)):
        record = decide(case_of(truth=truth_of(origins, horizon))).record
        assert record.certainty is not None
        found[f"{origins} windows, horizon {horizon}"] = [
            record.certainty.windows_needed,
            len(record.certainty.warnings),
        ]
    return found


def no_lead() -> int:
    """The number of warnings of a winner that is as good as the baseline, on too few windows for an interval."""
    truth = truth_of(5)
    same = off_by(truth, 1.0, 3)
    record = decide(
        case_of(truth=truth, candidates=[success("same", same)], baselines=[Baseline("naive", same)])
    ).record
    assert record.certainty is not None
    return len(record.certainty.warnings)


def limits() -> Outputs:
    """Which qualities are within the limits; a value that equals its limit is."""
    rules = Evaluate(min_coverage=0.75, max_bundle_mb=1.0, max_latency_ms=20.0)
    found = {}
    for coverage in (0.7499, 0.75, 0.7501, None):
        for size in (999_999, 1_000_000, 1_000_001, 2**20, None):
            for latency in (19.99, 20.0, 20.01, None):
                verdicts = eligibility(Qualities(coverage, size, latency), rules)
                found[f"{coverage}, {size}, {latency}"] = [verdict.passed for verdict in verdicts.values()]
    values = eligibility(Qualities(0.8, 1_500_000, 3.0), rules)
    return {"passed": found, "numbers": {name: dict(verdict.numbers) for name, verdict in values.items()}}


def skills() -> Outputs:
    """Which skills pass each rule, and skill itself."""
    policies: tuple[Any, ...] = (0.0, 0.1, -0.1, "warn", "off")
    found = {
        f"{value} under {policy}": [verdict.passed, dict(verdict.numbers)]
        for policy in policies
        for value in (-0.1, -1e-12, 0.0, 0.0999, 0.1, 0.5, None)
        for verdict in [skill_gate(value, "naive", policy)]
    }
    return {"gate": found, "skill": [skill(0.5, 0.4), skill(0.4, 0.4), skill(0.0, 0.4), skill(0.4, 0.0)]}


def noise() -> Outputs:
    """Blocks, overlaps, the t distribution, and how small differences must be to count as rounding."""
    signs = np.where(np.random.default_rng(13).integers(2, size=64) == 1, 1.0, -1.0)
    ones = np.ones(64)
    tested = {
        str(times): mean_of(ones + times * EPSILON * signs, ones, 1).test().p is not None for times in range(2, 65, 2)
    }
    sums = np.column_stack([np.ones(20), np.arange(20.0) ** 2])
    return {
        "rounding": tested,
        "blocks": {f"{n}, {h}": block_length(n, h) for n in (1, 8, 9, 27, 28, 64, 65, 1000) for h in (1, 4)},
        "ten blocks": {str(n): enough_blocks(n, 3) for n in (29, 30, 40, 49, 50)},
        "drawn": {str(n): resampled_sums(sums[:n], 3, 42)[:5].tolist() for n in (9, 10, 20)},
        "overlap": [overlap(h, spacing) for h in (1, 3, 12) for spacing in (1.0, 2.0, 2.5, 24.0)],
        "t": [student_t_cdf(t, degrees) for t in (-40.0, -2.0, -0.1, 0.0, 0.5, 3.0) for degrees in (1, 29, 499)],
        "critical": [student_t_critical(tail, degrees) for tail in (0.05, 0.025, 1e-5) for degrees in (4, 25)],
        "test": {
            f"{n}, {h}": mean_of(*errors(n), h).test().model_dump(exclude={"reason"})
            for n, h in ((30, 1), (31, 1), (95, 12), (96, 12), (64, 3), (125, 3))
        },
    }


def looks() -> Outputs:
    """Levels, distances and Holm's adjustment."""
    plain = windows_of(truth_of())

    def moved(last: int) -> float:
        return spans_since(plain.model_copy(update={"last": last}), plain)

    truth = truth_of()
    reference = ChampionForecast("older", digest("older"), off_by(truth, 1.005, 3))
    champion = ChampionForecast("old", digest("old"), off_by(truth, 8.0, 9))
    rules = Evaluate(gate="not-worse")
    return {
        "levels": [level_of(spans) for spans in (0.0, 0.1, 1.0, 7.5)],
        "spans": [moved(last) for last in (0, 30, 59, 60, 118, 500)],
        "holm": [holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}), holm({"a": 0.02, "b": None})],
        "not worse": numbers(case_of(truth=truth, champion=champion, reference=reference, rules=rules, spans=0.5)),
    }


def errors(count: int) -> tuple[Values, Values]:
    """Losses of two models, one of which is not scored."""
    rng = np.random.default_rng(14)
    first, second = (rounded(rng.uniform(0.0, 1.0, count)) for _ in range(2))
    return first, second + 0.1


def intervals() -> Outputs:
    """Widths of the other levels from the stored one, coverage at the edge, and when coverage is warned of."""
    offsets = {"0.5": [[0.0], [1.0], [0.5]], "0.8": [[0.0], [0.0], [2.0]], "0.9": [[0.0], [3.0], [4.0]]}
    truth = np.array([[[1.0], [2.0], [np.nan]], [[4.0], [5.0], [6.0]]] * 6)
    forecast = np.full(truth.shape, 3.0)
    widths = half_widths(np.full((1, 3, 1), 6.0), offsets)
    half_width = np.broadcast_to(np.array([1.0, 2.0, np.nan])[None, :, None], truth.shape)
    found = measured(truth, forecast - half_width, forecast + half_width, yardstick_of(), 1)
    nowhere = measured(truth, forecast * np.nan, forecast * np.nan, yardstick_of(), 1)

    def warned(coverage: float, low: float, high: float) -> bool:
        about = Coverage(coverage=coverage, interval=Interval(low=low, high=high), width=1.0, cells=100, step=[])
        return miscalibration("0.8", about) is not None

    return {
        "half widths": {k: [None if np.isnan(v) else v for v in of.ravel().tolist()] for k, of in widths.items()},
        "measured": None if found is None else found.model_dump(mode="json"),
        "without bounds": nowhere is None,
        "warned": {
            f"{coverage}": warned(coverage, coverage - 0.001, coverage + 0.001)
            for coverage in (0.75, 0.765, 0.769, 0.771, 0.775, 0.78, 0.82, 0.829, 0.831, 0.835, 0.85)
        },
        "within noise": warned(0.7, 0.5, 0.8),
    }


def rounded(values: Values) -> Values:
    """Round random numbers, whose last bits depend on the processor."""
    result: Values = np.round(values, 6)
    return result
