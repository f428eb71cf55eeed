"""Whether a candidate may be promoted. Policy is data; every number is in the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flts.contracts.records.decision import Number, Verdict
from flts.evaluate.metrics import Yardstick, losses
from flts.evaluate.score import Scored
from flts.evaluate.significance import ALPHA, better, diebold_mariano
from flts.preprocess.rows import Values
from flts.spec.fields import Evaluate

GATED_LEVEL = "0.8"
"""The level of the stored intervals, which min_coverage is about."""


@dataclass(frozen=True)
class ChampionForecast:
    """The model to beat. `forecast` [origins, horizon, targets] is None where it is not comparable, with the reason."""

    model: str
    model_hash: str
    forecast: Values | None
    not_comparable: str | None = None


@dataclass(frozen=True)
class Qualities:
    """What a candidate is besides its errors; None where it is not known."""

    coverage: float | None = None
    bundle_bytes: int | None = None
    latency_ms: float | None = None


def eligibility(qualities: Qualities, rules: Evaluate) -> dict[str, Verdict]:
    """One verdict for each quality that the rules put a limit on."""
    megabytes = None if qualities.bundle_bytes is None else qualities.bundle_bytes / 1e6
    limits: list[tuple[str, float | Literal["off"], float | None, bool, str]] = [
        ("min_coverage", rules.min_coverage, qualities.coverage, True, "the 80 % interval holds {:.1%} of the cells"),
        ("max_bundle_mb", rules.max_bundle_mb, megabytes, False, "the bundle has {:.3g} MB"),
        ("max_latency_ms", rules.max_latency_ms, qualities.latency_ms, False, "a forecast takes {:.3g} ms"),
    ]
    return {
        name: _limit(name, limit, value, at_least, words)
        for name, limit, value, at_least, words in limits
        if limit != "off"
    }


def _limit(name: str, limit: float, value: float | None, at_least: bool, words: str) -> Verdict:
    numbers = {name: limit, "value": value}
    if value is None:
        return _verdict(False, f"{name} = {limit:g} is asked for, and there is nothing to measure", **numbers)
    passed = value >= limit if at_least else value <= limit
    return _verdict(passed, f"{words.format(value)}, {name} = {limit:g}", **numbers)


def skill_gate(skill: float | None, baseline: str | None, policy: float | Literal["warn", "off"]) -> Verdict:
    """Whether the winner is worth more than the best baseline."""
    if policy == "off":
        return _verdict(True, "min_skill is off")
    if skill is None:
        said = "no referee applies"
        if baseline is not None:
            said = f"the referee {baseline} makes no error, so skill is undefined"
        # a number that is undefined does not reach another one; "warn" only says so
        return _verdict(policy == "warn", said, min_skill=policy, skill=None)
    said, passed = f"skill {skill:+.1%} against {baseline}", True
    if policy == "warn":
        said += ": no better than a forecast anyone can make" if skill <= 0.0 else ""
    elif skill < policy:
        said, passed = f"{said} is under min_skill {policy:+.1%}", False
    else:
        said += f" reaches min_skill {policy:+.1%}"
    return _verdict(passed, said, min_skill=policy, skill=skill, referee=baseline)


def champion_gate(
    challenger: Scored,
    champion: ChampionForecast | None,
    truth: Values,
    yardstick: Yardstick,
    rules: Evaluate,
    spacing: float,
) -> Verdict:
    """Whether the challenger may replace the champion; truth [origins, horizon, targets] in original units."""
    if champion is None:
        return _verdict(True, "first promotion of this scope, there is no champion to beat")
    if champion.model_hash == challenger.model_hash:
        return _verdict(False, f"{challenger.name} is the champion already")
    if rules.gate == "always":
        return _verdict(True, "gate = always: the best candidate is promoted without a test")
    if champion.forecast is None:
        return _verdict(
            False,
            f"the champion ({champion.model}) cannot be compared on these windows: {champion.not_comparable}; ways on:"
            ' another dataset.identifier, gate = "always", or `flts promotions promote`',
            not_comparable=champion.not_comparable,
        )
    test = diebold_mariano(
        losses(truth, challenger.forecast, yardstick),
        losses(truth, champion.forecast, yardstick),
        truth.shape[1],
        spacing,
    )
    passed = better(test)
    if passed:
        reason = f"beats the champion ({champion.model}): p = {test.p:.3g} over {test.n} windows"
    elif test.p is None:
        reason = f"the champion ({champion.model}) is not beaten: {test.reason}"
    else:
        smaller = test.mean_difference is not None and test.mean_difference < 0.0
        said = f"p = {test.p:.3g}, {ALPHA} is needed" if smaller else "its loss is not smaller"
        reason = f"the champion ({champion.model}) is not beaten: {said} over {test.n} windows"
    numbers = {"test": "diebold-mariano", "alpha": ALPHA, **test.model_dump()}
    return Verdict(passed=passed, reason=reason, numbers=numbers)


def _verdict(passed: bool, reason: str, **numbers: Number) -> Verdict:
    return Verdict(passed=passed, reason=reason, numbers=numbers)
