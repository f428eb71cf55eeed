"""What a comparison found, as types. Every list of values has one value per run, in the order of the runs."""

from __future__ import annotations

from typing import Literal

from pydantic import JsonValue

from flts.contracts.records.base import Count, Digest, Number, Part
from flts.contracts.records.run import Outcome

Stage = Literal["preprocess", "train", "evaluate"]
VerdictKind = Literal["same-result", "different-result", "different-spec", "not-computed-twice", "incomplete"]
"""The last two say that nothing differs, and that this is no proof: nothing was computed twice, or a part is absent."""
Work = Literal["fitted", "fitted again", "reused", "failed"]


class ComparedRun(Part):
    """One of the runs."""

    label: str
    """A for the first run, B for the second, and so on."""
    named: str
    """As the caller named it."""
    config_hash: Digest
    run: Number
    scope: str
    environment: str
    started: str
    outcome: Outcome | None
    """None where the run is not judged, or its judgement cannot be read."""
    winner: str | None
    champion: str | None
    """The model that was champion when the run was judged, with the start of its model_hash."""
    windows: Count | None
    """Test windows that were judged."""
    sure: str | None
    """How certain the choice of the winner is, in one sentence."""
    damaged: list[str]
    """What could not be read, and what to do about it."""


class SpecDifference(Part):
    """One value in which the resolved experiments differ."""

    key: str
    values: list[JsonValue]
    """None where the key is absent."""
    moves: list[str]
    """The hashes that change with it."""


class ComparedValue(Part):
    """A value of every run: a hash, a version, a fact about the machine."""

    name: str
    values: list[str | None]
    """None where it is not recorded."""

    @property
    def differs(self) -> bool:
        """Whether two runs have different values, recorded or not."""
        return len(set(self.values)) > 1


class ComparedArtifact(ComparedValue):
    """What a stage made, by its digest or by a word; artifacts are listed in the order in which a run makes them."""

    stage: Stage
    model: str | None
    """None for what all models share."""


class ComparedWork(Part):
    """What the runs did for one model."""

    model: str
    work: list[Work | None]
    """None where the run did not finish this model, or does not have it."""


class ComparedScore(Part):
    """The errors of one model, scaled by the range of the target over train."""

    model: str
    baseline: bool
    ranks: list[int | None]
    """None for a baseline, and where a run has no forecast of it."""
    metrics: dict[str, list[float | None]]
    """By name: score, the composite, then each error of the scoreboard."""


class RepeatedRuns(Part):
    """How long the same work took in all runs of a configuration in one store and environment; seconds."""

    runs: Number
    shortest: float
    median: float
    longest: float


class DurationStatement(Part):
    """Whether a run took longer than the first one by more than repeated runs vary."""

    ratio: float | None
    """Median of this run's repetitions ÷ median of the first one's."""
    exceeds: bool | None
    """Whether the ranges of the repetitions do not overlap; None where one of them is a single run."""
    chance: float | None
    """How often the ranges of two equally fast sets of so many runs do not overlap either."""
    text: str


class ComparedDuration(Part):
    """How long one piece of work took."""

    work: str
    seconds: list[float | None]
    """Of this run; None where it did not do the work itself."""
    repeated: list[RepeatedRuns | None]
    statements: list[DurationStatement | None]
    """About each run, against the first one; None for the first, and where a duration is not known."""


class PairVerdict(Part):
    """What comparing one run with the first one comes to."""

    a: str
    """Label of the first run."""
    b: str
    kind: VerdictKind
    text: str
    first: str | None
    """Name of the first artifact that differs, in the order of the pipeline."""
    computed_twice: list[str]
    """Models that both runs computed themselves, and on which `same-result` rests."""
    not_computed_twice: list[str]


class Comparison(Part):
    """Two or more runs side by side."""

    v: Literal[1] = 1
    runs: list[ComparedRun]
    verdicts: list[PairVerdict]
    """One per run after the first."""
    spec: list[SpecDifference] | None
    """Empty where the experiments are equal, None where one of them cannot be read."""
    rows: list[ComparedValue]
    """How many rows and bytes the processed tables have."""
    artifacts: list[ComparedArtifact]
    versions: list[ComparedValue]
    machines: list[ComparedValue]
    work: list[ComparedWork]
    durations: list[ComparedDuration]
    scores: list[ComparedScore]
    notes: list[str]
    """What a reader of the tables must know."""

    @property
    def same(self) -> bool:
        """Whether every run gave the result of the first one."""
        return all(verdict.kind == "same-result" for verdict in self.verdicts)
