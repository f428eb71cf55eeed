"""Whether two runs gave the same result. Only what both runs computed counts: an equal copy proves nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence

from flts.comparison.result import ComparedArtifact, PairVerdict, SpecDifference, VerdictKind, Work
from flts.comparison.sides import Side
from flts.contracts.records.model import MadeOn
from flts.contracts.records.run import TrainPart
from flts.report.evidence import RunParts
from flts.spec.lineage import short

PROCESSOR, KERNEL = "processor", "kernel of "
SHOWN = 3
"""Values of the experiment that a verdict names at most."""


def pair_verdict(
    a: Side,
    b: Side,
    labels: tuple[str, str],
    spec: Sequence[SpecDifference] | None,
    made: Sequence[ComparedArtifact],
    models: Sequence[str],
) -> PairVerdict:
    """The verdict on two runs. spec: None where an experiment cannot be read; spec, made: values of these two runs."""
    twice = [model for model in models if computed_twice(a, b, model)]
    rest = [model for model in models if model not in twice]
    first = next((artifact for artifact in made if _apart(artifact)), None)
    kind, text = _kind_and_text(a, b, labels, spec, made, first, twice, rest)
    return PairVerdict(
        a=labels[0],
        b=labels[1],
        kind=kind,
        text=text,
        first=first.name if first and kind != "different-spec" else None,
        computed_twice=twice,
        not_computed_twice=rest,
    )


def _kind_and_text(
    a: Side,
    b: Side,
    labels: tuple[str, str],
    spec: Sequence[SpecDifference] | None,
    made: Sequence[ComparedArtifact],
    first: ComparedArtifact | None,
    twice: Sequence[str],
    rest: Sequence[str],
) -> tuple[VerdictKind, str]:
    if spec:
        more = f" and {len(spec) - SHOWN} more" if len(spec) > SHOWN else ""
        return "different-spec", f"different Spec: {'; '.join(map(_changed, spec[:SHOWN]))}{more}"
    if spec is None and a.record.config_hash != b.record.config_hash:
        absent = [label for label, side in zip(labels, (a, b), strict=True) if side.record.spec is None]
        return "incomplete", f"not compared: the experiment of {' and '.join(absent or labels)} cannot be read"
    if first is not None:
        return (
            "different-result",
            f"same Spec, different result: {_parting(first, labels)}{_cause(a, b, first, labels)}",
        )
    lacking = next((artifact for artifact in made if artifact.differs), None)  # where one of the two has none
    if lacking is not None:
        lacks = labels[lacking.values.index(None)]
        return "incomplete", f"same Spec and no difference, but {lacks} has no record of: {lacking.name}"
    if not twice:
        return "not-computed-twice", (
            f"same Spec, nothing computed twice: {_reused(labels, (a, b), rest)}, so equal digests prove nothing;"
            " `flts run --recompute` computes it again"
        )
    text = f"same result: {', '.join(twice)} computed by {labels[0]} and by {labels[1]}, equal to the byte"
    return "same-result", text + (f"; nothing is said of {', '.join(rest)}, not computed by both" if rest else "")


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


Fit = tuple[str, str, str, str]
"""Environment, start, end and processor of a fit, which no other fit shares."""


def _own(side: Side, model: str) -> Fit | None:
    """The fit of this run that gave the result it has."""
    return _fit(side.record, model)


def _earlier(side: Side, model: str) -> set[Fit | None]:
    here = side.record.claim.environment
    return {fit for other in side.others if other.claim.environment == here and (fit := _fit(other, model))}


def _known(side: Side, model: str) -> set[Fit | None]:
    return {fit for parts in (side.record, *side.others) if (fit := _fit(parts, model))}


def _fit(parts: RunParts, model: str) -> Fit | None:
    part: TrainPart | None = parts.models.get(model)
    if part is None or not part.fitted or part.recomputed not in {None, "equal"}:
        return None
    return part.environment, part.started, part.ended, part.processor


def _apart(artifact: ComparedArtifact) -> bool:
    return None not in artifact.values and artifact.differs


def _changed(difference: SpecDifference) -> str:
    before, after = (json.dumps(value, ensure_ascii=False) for value in difference.values)
    return f"{difference.key} {before} → {after} (moves {short(difference.moves)})"


def _parting(first: ComparedArtifact, labels: tuple[str, str]) -> str:
    a, b = (value[:12] if value and len(value) == 64 else value for value in first.values)
    return f"the first difference is {first.name} ({labels[0]} {a}, {labels[1]} {b})"


def _cause(a: Side, b: Side, first: ComparedArtifact, labels: tuple[str, str]) -> str:
    """What may explain that two fits of one model differ."""
    made = [side.record.results.get(first.model or "") for side in (a, b)]
    if made[0] is None or made[1] is None or first.name.startswith("model_hash"):
        return ""
    one, other = (facts(result.made_on) for result in made if result)
    differing = [
        f"{name} {one.get(name, 'none')} and {other.get(name, 'none')}"
        for name in dict.fromkeys([*one, *other])
        if one.get(name) != other.get(name)
    ]
    if not differing:
        return "; both have the same versions, processor and kernels"
    return f"; {labels[0]} and {labels[1]} have {', '.join(differing)}"


def facts(made_on: MadeOn) -> dict[str, str]:
    """Libraries, processor and kernels by name."""
    kernels = {f"{KERNEL}{name}": value for name, value in (made_on.kernels or {}).items()}
    return {**made_on.libraries, PROCESSOR: made_on.processor, **kernels}


def is_of_machine(fact: str) -> bool:
    """Whether a fact is about the machine rather than about a library."""
    return fact == PROCESSOR or fact.startswith(KERNEL)


def _reused(labels: tuple[str, str], sides: tuple[Side, Side], models: Sequence[str]) -> str:
    """Which of the runs did not compute."""
    idle = [label for label, side in zip(labels, sides, strict=True) if not any(_own(side, model) for model in models)]
    return f"{' and '.join(idle)} reused every result" if idle else "both records are of the same fits"
