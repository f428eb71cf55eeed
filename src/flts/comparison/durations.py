"""How long the work of each run took, and whether a difference is more than repeated runs vary."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from datetime import datetime

from flts.comparison.result import ComparedDuration, DurationStatement, RepeatedRuns
from flts.comparison.sides import Side
from flts.report.evidence import RunParts

REPEATED = 2
"""Runs that have a spread."""
Take = Callable[[RunParts], float | None]


def durations(sides: Sequence[Side], labels: Sequence[str], models: Sequence[str]) -> list[ComparedDuration]:
    """Every stage in its order, and the whole run; work that a run did not do itself has no duration."""
    stages: dict[str, Take] = {
        "preprocess": _preprocess,
        **{f"fit of {model}": _fit(model) for model in models},
        "judgement": _judgement,
        "the whole run": _run,
    }
    found = [_compared(work, sides, labels, take) for work, take in stages.items()]
    return [duration for duration in found if any(value is not None for value in duration.seconds)]


def _compared(work: str, sides: Sequence[Side], labels: Sequence[str], take: Take) -> ComparedDuration:
    seconds = [take(side.record) for side in sides]
    repeated = [_repeated(side, take) for side in sides]
    first, *others = zip(labels, repeated, strict=True)
    return ComparedDuration(
        work=work,
        seconds=seconds,
        repeated=repeated,
        statements=[None, *(_statement(*first, *other) for other in others)],
    )


def _repeated(side: Side, take: Take) -> RepeatedRuns | None:
    """All durations of this work in the same environment; None where nothing did it."""
    here = side.record.claim.environment
    every = [side.record, *(other for other in side.record.others if other.claim.environment == here)]
    seconds = sorted(value for parts in every if (value := take(parts)) is not None)
    if not seconds:
        return None
    return RepeatedRuns(runs=len(seconds), shortest=seconds[0], median=statistics.median(seconds), longest=seconds[-1])


def _statement(a: str, first: RepeatedRuns | None, b: str, other: RepeatedRuns | None) -> DurationStatement | None:
    if first is None or other is None:
        return None
    ratio = other.median / first.median if first.median else None
    times = f"{b} took {ratio:.2f} times as long as {a}" if ratio is not None else f"{a} took no time"
    if first.runs < REPEATED or other.runs < REPEATED:
        once = " and ".join(label for label, side in ((a, first), (b, other)) if side.runs < REPEATED)
        text = f"{times}; {once} ran once, so it is not known how much repeated runs vary"
        return DurationStatement(ratio=ratio, exceeds=None, chance=None, text=text)
    exceeds = first.longest < other.shortest or other.longest < first.shortest
    # of all orders of these runs, two keep each set together
    chance = 2 / math.comb(first.runs + other.runs, first.runs)
    ranges = f"{a} {_range(first)}, {b} {_range(other)}"
    text = (
        f"{times}, more than repeated runs vary: {ranges}; by chance, so do {chance:.1%} of such pairs"
        if exceeds
        else f"{times}, no more than repeated runs vary: {ranges}"
    )
    return DurationStatement(ratio=ratio, exceeds=exceeds, chance=chance, text=text)


def _range(repeated: RepeatedRuns) -> str:
    return f"{repeated.shortest:.1f} to {repeated.longest:.1f} s in {repeated.runs} runs"


def _preprocess(parts: RunParts) -> float | None:
    part = parts.preprocess
    return None if part is None or part.reused else _seconds(part.duration_ms)


def _judgement(parts: RunParts) -> float | None:
    return _seconds(parts.judge.duration_ms) if parts.judge else None


def _seconds(duration_ms: int | None) -> float | None:
    """None in a record of an earlier flts."""
    return None if duration_ms is None else duration_ms / 1000


def _fit(model: str) -> Take:
    def take(parts: RunParts) -> float | None:
        part = parts.models.get(model)
        return _seconds(part.duration_ms) if part is not None and part.fitted else None

    return take


def _run(parts: RunParts) -> float | None:
    """From the claim to the judgement, where every model was fitted in this run."""
    if parts.judge is None or not parts.models or not all(part.fitted for part in parts.models.values()):
        return None
    started, ended = (datetime.fromisoformat(time) for time in (parts.claim.started, parts.judge.ended))
    return max((ended - started).total_seconds(), 0.0)  # a clock may be set in the meantime
