"""Whether a candidate may be promoted. The policy is data, and a verdict holds every number it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from flts.contracts.records.decision import Look, Number, Verdict
from flts.evaluate.look import shown
from flts.evaluate.score import Scored
from flts.preprocess.rows import Values
from flts.spec.fields import Evaluate

GATED_LEVEL = "0.8"
"""The level of the stored intervals, which min_coverage limits."""


@dataclass(frozen=True)
class ChampionForecast:
    """A model to compare with, and the number of the promotion that made it champion.

    forecast: [origins, horizon, targets], or None with the reason where it has none; evidence: SHA-256 of the stored
    objects behind it, by key.
    """

    model: str
    model_hash: str
    forecast: Values | None
    not_comparable: str | None = None
    promotion: int | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)

    @property
    def named(self) -> str:
        """The model as sentences name it: several promotions may be of one family."""
        return self.model if self.promotion is None else f"{self.model} of promotion {self.promotion}"


@dataclass(frozen=True)
class Qualities:
    """Properties of a candidate besides its errors; None where unknown."""

    coverage: float | None = None
    bundle_bytes: int | None = None
    latency_ms: float | None = None


def eligibility(qualities: Qualities, rules: Evaluate) -> dict[str, Verdict]:
    """One verdict for each quality that the rules put a limit on."""
    megabytes = None if qualities.bundle_bytes is None else qualities.bundle_bytes / 1e6
    limits: list[tuple[str, float | Literal["off"], float | None, bool, str]] = [
        (
            "min_coverage",
            rules.min_coverage,
            qualities.coverage,
            True,
            "the 80 % interval covers {:.1%} of the test cells",
        ),
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
        return _verdict(False, f"{name} = {limit:g} is required, but no value was measured", **numbers)
    passed = value >= limit if at_least else value <= limit
    return _verdict(passed, f"{words.format(value)}, {name} = {limit:g}", **numbers)


def skill_gate(skill: float | None, baseline: str | None, policy: float | Literal["warn", "off"]) -> Verdict:
    """Whether the winner improves enough on the best baseline."""
    if policy == "off":
        return _verdict(True, "min_skill is off")
    if skill is None:
        reason = "no baseline has a forecast"
        if baseline is not None:
            reason = f"the baseline {baseline} makes no error, so skill is undefined"
        # an undefined skill cannot reach a minimum; "warn" sets none
        return _verdict(policy == "warn", reason, min_skill=policy, skill=None)
    reason, passed = f"skill {skill:+.1%} against {baseline}", True
    if policy == "warn":
        reason += ": no better than a forecast that anyone can make" if skill <= 0.0 else ""
    elif skill < policy:
        reason, passed = f"{reason} is below min_skill {policy:+.1%}", False
    else:
        reason += f" reaches min_skill {policy:+.1%}"
    return _verdict(passed, reason, min_skill=policy, skill=skill, referee=baseline)


def champion_gate(
    challenger: Scored,
    champion: ChampionForecast | None,
    reference: ChampionForecast | None,
    look: Look | None,
    gate: str,
) -> Verdict:
    """Whether the challenger may replace the champion.

    reference: the model that the challenger is compared with; look: the tests, None where they could not be made.
    """
    if champion is None or reference is None:
        return _verdict(True, "first promotion in this scope: there is no champion to beat")
    if champion.model_hash == challenger.model_hash:
        return _verdict(False, f"{challenger.name} is the champion already")
    if gate == "always":
        return _verdict(
            True, "gate = always: the best candidate is promoted without a test, so nothing bounds the error"
        )
    rival = f"the champion ({champion.named})"
    if reference.model_hash != champion.model_hash:
        rival = f"the last champion that was chosen by a test or by hand ({reference.named})"
    if look is None:
        return _verdict(
            False,
            f"{rival} cannot be compared on these windows: {reference.not_comparable}; use another dataset.identifier,"
            ' gate = "always", or `flts promotions promote`',
            not_comparable=reference.not_comparable,
        )
    test, passed = look.tests[challenger.name], shown(look, challenger.name)
    if look.margin is None:
        claim = f"beats {rival}" if passed else f"{rival} is not beaten"
    else:
        is_less = "is less" if passed else "is not shown to be less"
        claim = f"{challenger.name} {is_less} than {100.0 * look.margin:.3g} % worse than {rival}"
    if test.adjusted_p is None:
        why = test.reason
    else:
        side = "below" if passed else "not below"
        among = f", adjusted for {len(look.tests)} candidates," if len(look.tests) > 1 else ""
        why = f"p = {test.adjusted_p:.3g}{among} is {side} {look.level:.3g} over {test.n} windows"
    numbers = {"spans": look.spans, "level": look.level, **test.model_dump()}
    return Verdict(passed=passed, reason=f"{claim}: {why}", numbers=numbers)


def _verdict(passed: bool, reason: str, **numbers: Number) -> Verdict:
    return Verdict(passed=passed, reason=reason, numbers=numbers)
