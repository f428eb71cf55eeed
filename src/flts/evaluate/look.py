"""One look at the champion: every candidate is tested against it, and the error of the whole look has one bound.

A scope is looked at again and again, at windows that are much the same from one look to the next. No look is counted.
What counts is how far the windows have moved since the champion was chosen: the level of a look falls with that
distance, so that the chance to replace a champion that nothing beats stays small however often it is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flts.contracts.records.decision import ChampionName, DifferenceTest, Look, WindowsSummary
from flts.evaluate.origins import difference
from flts.evaluate.score import Scored
from flts.evaluate.significance import ALPHA
from flts.spec.fields import Evaluate


def spans_since(now: WindowsSummary, chosen: WindowsSummary) -> float:
    """(last origin now - last origin of the decision that chose the champion) ÷ span of the windows now, at least 0."""
    span = now.last - now.first
    return max(0.0, (now.last - chosen.last) / span) if span else 0.0


def level_of(spans: float) -> float:
    """The level of a look, α/(2·(1 + 2·spans)²); docs/decisions/0006 says why."""
    return ALPHA / (2.0 * (1.0 + 2.0 * spans) ** 2)


def holm(p: Mapping[str, float | None]) -> dict[str, float | None]:
    """Adjusted p of each test (Holm 1979); one without an answer counts as 1 and has none."""
    adjusted: dict[str, float | None] = dict.fromkeys(p)
    floor = 0.0
    for position, (value, name) in enumerate(
        sorted((1.0 if value is None else value, name) for name, value in p.items())
    ):
        floor = min(1.0, max(floor, (len(p) - position) * value))
        if p[name] is not None:
            adjusted[name] = floor
    return adjusted


def look_at(
    candidates: Sequence[Scored],
    champion: str,
    against: Scored,
    name: ChampionName,
    spans: float,
    rules: Evaluate,
    overlapping: int,
) -> Look:
    """The tests of all candidates that are another model than the champion.

    champion: its model_hash; against: the forecast to be compared with, `name` says whose; spans: `spans_since`.
    """
    factor = 1.0 + rules.margin if rules.gate == "not-worse" else 1.0
    tests = {
        candidate.name: difference(candidate, against, rules.weights, overlapping, factor).test()
        for candidate in candidates
        if candidate.model_hash != champion
    }
    adjusted = holm({name: test.p for name, test in tests.items()})
    return Look(
        spans=spans,
        level=level_of(spans),
        against=name,
        margin=rules.margin if rules.gate == "not-worse" else None,
        tests={name: _with(test, adjusted[name]) for name, test in sorted(tests.items())},
    )


def _with(test: DifferenceTest, adjusted_p: float | None) -> DifferenceTest:
    return test.model_copy(update={"adjusted_p": adjusted_p})


def shown(look: Look, model: str) -> bool:
    """Whether the test of this candidate passes at the level of the look."""
    adjusted = look.tests[model].adjusted_p
    return adjusted is not None and adjusted < look.level


def stated_error(look: Look, rival: str) -> str:
    """What this look may get wrong against this rival, and how often at most."""
    wrong = (
        f"a candidate is promoted that is no better than {rival}"
        if look.margin is None
        else f"a candidate is promoted that is worse than {rival} by {100.0 * look.margin:.3g} % or more"
    )
    return f"nominal error of this look: {wrong}, at most {100.0 * look.level:.2g} %"
