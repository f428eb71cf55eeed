"""Whether two runs gave the same result. Only what both runs computed counts: an equal copy proves nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from flts.comparison.result import ComparedArtifact, PairVerdict, SpecDifference, VerdictKind, Work
from flts.comparison.sides import Side
from flts.contracts.canonical import is_digest
from flts.contracts.records.model import MadeOn
from flts.contracts.records.run import TrainPart
from flts.report.evidence import RunParts
from flts.spec.lineage import short

SHOWN = 3
"""Values of the experiment that a verdict names at most."""


@dataclass(frozen=True)
class Pair:
    """Two runs, with what differs between them."""

    a: Side
    b: Side
    labels: tuple[str, str]
    spec: Sequence[SpecDifference] | None
    """None where the experiment of one of them cannot be read."""
    made: Sequence[ComparedArtifact]
    """Values of these two runs."""
    models: Sequence[str]


def pair_verdict(pair: Pair) -> PairVerdict:
    """Whether both gave the same result."""
    twice = [model for model in pair.models if computed_twice(pair.a, pair.b, model)]
    first = next((artifact for artifact in pair.made if None not in artifact.values and artifact.differs), None)
    kind, text = _kind_and_text(pair, first, twice)
    return PairVerdict(
        a=pair.labels[0],
        b=pair.labels[1],
        kind=kind,
        text=text,
        first=first.name if first and kind == "different-result" else None,
        computed_twice=twice,
        not_computed_twice=[model for model in pair.models if model not in twice],
    )


def _kind_and_text(pair: Pair, first: ComparedArtifact | None, twice: Sequence[str]) -> tuple[VerdictKind, str]:
    a, b = pair.labels
    if pair.spec:
        more = f" and {len(pair.spec) - SHOWN} more" if len(pair.spec) > SHOWN else ""
        return "different-spec", f"different Spec: {'; '.join(map(_changed, pair.spec[:SHOWN]))}{more}"
    if pair.spec is None and pair.a.record.config_hash != pair.b.record.config_hash:
        return "incomplete", "not compared: the hashes differ, and an experiment cannot be read"
    if first is not None:
        return "different-result", f"same Spec, different result: {_parting(pair, first)}"
    lacking = next((artifact for artifact in pair.made if artifact.differs), None)  # one of the two has none
    if lacking is not None:
        lacks = pair.labels[lacking.values.index(None)]
        return "incomplete", f"same Spec and no difference, but {lacks} has no record of: {lacking.name}"
    if not twice:
        return "not-computed-twice", (
            f"same Spec, nothing computed twice: {_idle(pair)}, so equal digests prove nothing; `flts run --recompute`"
            " computes it again"
        )
    rest = [model for model in pair.models if model not in twice]
    unsaid = f"; nothing is said of {', '.join(rest)}, not computed by both" if rest else ""
    return "same-result", f"same result: {', '.join(twice)} computed by {a} and by {b}, equal to the byte{unsaid}"


def computed_twice(a: Side, b: Side, model: str) -> bool:
    """Whether two fits of this model stand behind the runs, one on each side.

    The fit of a run that reused a result is an earlier one of its store and environment; it counts unless the other
    store knows the same fit, because then one store may be a copy of the other.
    """
    own_a, own_b = _own(a, model), _own(b, model)
    if own_a and own_b:
        return own_a != own_b
    there_a, there_b = {own_a} - {None} or _earlier(a, model), {own_b} - {None} or _earlier(b, model)
    return bool(there_a and there_b and (there_b - _known(a, model) or there_a - _known(b, model)))


def work(side: Side, model: str) -> Work | None:
    """What a run did for a model."""
    part = side.record.models.get(model)
    if part is None:
        return "failed" if model in side.record.failures else None
    if not part.fitted:
        return "reused"
    return "fitted" if part.recomputed is None else "fitted again"


Fit = tuple[str, str]
"""Start and end of a fit, to the microsecond; a copy of its record has the same."""


def _own(side: Side, model: str) -> Fit | None:
    """The fit of this run that gave the result it has."""
    return _fit(side.record, model)


def _earlier(side: Side, model: str) -> set[Fit | None]:
    here = side.record.claim.environment
    return {fit for other in side.record.others if other.claim.environment == here and (fit := _fit(other, model))}


def _known(side: Side, model: str) -> set[Fit | None]:
    return {fit for parts in (side.record, *side.record.others) if (fit := _fit(parts, model))}


def _fit(parts: RunParts, model: str) -> Fit | None:
    part: TrainPart | None = parts.models.get(model)
    if part is None or not part.fitted or part.recomputed not in {None, "equal"}:
        return None
    return part.started, part.ended


def _changed(difference: SpecDifference) -> str:
    before, after = (json.dumps(value, ensure_ascii=False) for value in difference.values)
    return f"{difference.key} {before} → {after} (moves {short(difference.moves)})"


def _parting(pair: Pair, first: ComparedArtifact) -> str:
    """The first difference, and what may explain it."""
    a, b = (value[:12] if value and is_digest(value) else value for value in first.values)
    named = f"the first difference is {first.name} ({pair.labels[0]} {a}, {pair.labels[1]} {b})"
    made = [side.record.results.get(first.model or "") for side in (pair.a, pair.b)]
    if "_hash" in first.name:
        return f"{named}; the code that it covers has another version"
    if made[0] is None or made[1] is None:
        return named
    one, other = ({**result.made_on.libraries, **of_machine(result.made_on)} for result in (made[0], made[1]))
    differing = [
        f"{name} {one.get(name, 'none')} and {other.get(name, 'none')}"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]
    places = f"{' and '.join(pair.labels)} have {', '.join(differing)}" if differing else "both have the same versions"
    return f"{named}; {places}{'' if differing else ', processor and kernels'}"


def of_machine(made_on: MadeOn) -> dict[str, str]:
    """Processor and kernels by the name to show."""
    return {"processor": made_on.processor, **{f"kernel of {name}": k for name, k in (made_on.kernels or {}).items()}}


def _idle(pair: Pair) -> str:
    """Which of the runs did not compute."""
    idle = [
        label
        for label, side in zip(pair.labels, (pair.a, pair.b), strict=True)
        if not any(_own(side, model) for model in pair.models)
    ]
    return f"{' and '.join(idle)} reused every result" if idle else "both records are of the same fits"
