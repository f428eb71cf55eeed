"""A decision: the scoreboard, how certain it is, the verdicts of the gates, and the preview of the winner."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, Tag, field_serializer, field_validator

from flts.contracts.records.base import Count, Digest, Part, StoredRecord, Upgrade
from flts.contracts.records.run import Outcome

Number = float | int | str | None
"""A number of a verdict, or the policy it was compared with."""


class Interval(Part):
    """A 95 % confidence interval; in a decision of format 1, percentiles of a moving-block bootstrap."""

    low: float
    high: float

    def contains(self, value: float) -> bool:
        """Whether the interval contains the value."""
        return self.low <= value <= self.high


@dataclass(frozen=True)
class Metric:
    """Marks a field of ScoredRow as an error; the scoreboard and tracked runs show every field that has this mark."""

    heading: str
    decimals: int = 4


class UnitErrors(Part):
    """Errors of one target in its original unit."""

    rmse: float
    mae: float
    mse: float


class StepErrors(Part):
    """Scaled errors at one step of the horizon."""

    step: int
    rmse: float
    mae: float
    cells: Count


class HourErrors(Part):
    """Scaled errors at one hour of the day, local time."""

    hour: int
    rmse: float
    mae: float
    cells: Count


class WeekdayErrors(Part):
    """Scaled errors on one weekday, 0 is Monday, local time."""

    weekday: int
    rmse: float
    mae: float
    cells: Count


class Profile(Part):
    """Errors of a forecast by step, hour and weekday."""

    step: list[StepErrors]
    hour: list[HourErrors]
    weekday: list[WeekdayErrors]


class StepCoverage(Part):
    """Measured coverage and mean scaled width of the intervals at one step."""

    step: int
    coverage: float
    width: float


class Coverage(Part):
    """Measured coverage and mean scaled width of the intervals of one level."""

    coverage: float
    interval: Interval | None
    width: float
    cells: Count
    step: list[StepCoverage]


class Verdict(Part):
    """The result of a gate or a limit."""

    passed: bool
    reason: str
    numbers: dict[str, Number]


class ScoredRow(Part):
    """The fields of every row with a forecast; errors are scaled by the target's range over train."""

    model: str
    score: float
    """The composite; lower is better."""
    score_interval: Interval | None
    rmse: Annotated[float, Metric("RMSE")]
    mae: Annotated[float, Metric("MAE")]
    mse: Annotated[float, Metric("MSE")]
    mase: Annotated[float | None, Metric("MASE", decimals=3)]
    units: dict[str, UnitErrors]
    """By target."""
    cells: Count
    profile: Profile


METRICS: Mapping[str, Metric] = {
    name: mark for name, info in ScoredRow.model_fields.items() for mark in info.metadata if isinstance(mark, Metric)
}
"""Every error of a scored row by the name of its field, in the order of the scoreboard."""


class KnownUse(Part):
    """What a candidate saw of the rows to forecast; both are empty for one that ignores what is known ahead."""

    measured: list[str]
    """Columns of the test rows, whose measured values it was judged with."""
    generated: list[str]
    """Columns that anyone can make of dates."""


class CandidateRow(ScoredRow):
    """A candidate with a forecast."""

    absent_when_none = frozenset({"adaptive", "known_future", "static_coverage", "uses_history"})

    status: Literal["SUCCESS"]
    rank: int
    model_hash: Digest
    bundle_sha256: Digest
    forecasts_sha256: Digest
    skill: float | None
    """Against the best baseline."""
    skill_vs_naive: float | None
    coverage: dict[str, Coverage] | None
    """By level."""
    adaptive: Count | None = None
    """Windows whose intervals follow the errors before them; all others are static. None in a decision of format 1."""
    static_coverage: dict[str, float] | None = None
    """What the static offsets alone would cover, by level; None where all windows are static."""
    no_intervals: str | None
    """Why there are no intervals."""
    uses_history: bool | None = None
    """False where forecasts depend on dates alone: all windows are judged from one fit. None in a decision of format 1.
    """
    known_future: KnownUse | None = None
    """None in an experiment in which no column is known ahead."""
    bundle_bytes: Count | None
    latency_ms: float | None
    limits: dict[str, Verdict]


class UnrankedRow(Part):
    """A candidate without a forecast, with the reason."""

    status: Literal["FAILED", "N/A"]
    rank: None
    model: str
    model_hash: Digest
    reason: str | None


class BaselineRow(ScoredRow):
    """A baseline with a forecast; never promoted."""


class AbsentBaseline(Part):
    """A baseline that does not apply, with the reason."""

    status: Literal["N/A"]
    model: str
    reason: str | None


def _baseline_kind(value: Any) -> str:
    has_status = "status" in value if isinstance(value, dict) else hasattr(value, "status")
    return "absent" if has_status else "scored"


AnyCandidate = Annotated[CandidateRow | UnrankedRow, Field(discriminator="status")]
AnyBaseline = Annotated[
    Annotated[BaselineRow, Tag("scored")] | Annotated[AbsentBaseline, Tag("absent")], Discriminator(_baseline_kind)
]


class DifferenceTest(Part):
    """The one-sided test of two scores on the same windows, with every number that went into it."""

    n: Count
    """Windows with a scored cell."""
    mean_difference: float | None
    """The score of the first minus that of the second, or minus (1 + margin) times that of the second."""
    degrees: Count
    """Cosines that the variance was estimated from, and degrees of freedom."""
    standard_error: float | None
    statistic: float | None
    p: float | None
    """For "the first is smaller"; None where the test has no answer, with the reason."""
    adjusted_p: float | None
    """By Holm, over all candidates of a look; None for a test outside a look."""
    reason: str | None


class DieboldMariano(Part):
    """The test of mean squared errors that decisions of format 1 rest on."""

    n: Count
    mean_difference: float | None
    overlap: int
    lag: int | None
    statistic: float | None
    p: float | None
    """One-sided, for "the first has the smaller loss"; None where the test has no answer, with the reason."""
    reason: str | None


class Lead(Part):
    """The lead of the winner over another model."""

    absent_when_none = frozenset({"test", "diebold_mariano"})

    model: str
    lead: float
    relative_lead: float | None
    interval: Interval | None
    test: DifferenceTest | None = None
    diebold_mariano: DieboldMariano | None = None
    """In a decision of format 1, in place of `test`."""


class SmallestLead(Part):
    """The smallest lead over a model that these windows can show."""

    over: str
    level: float
    """Of the one-sided test."""
    lead: float
    relative: float | None
    """Share of the score of that model."""


class Certainty(Part):
    """How certain the choice of the winner is."""

    absent_when_none = frozenset({"runner_up", "best_baseline", "best_referee", "champion", "smallest_lead"})

    windows: Count
    windows_needed: Count
    chosen_among: Count
    resamples: Count
    block: int
    best_share: float | None
    """Share of the resamplings in which the winner is best."""
    runner_up: Lead | None = None
    best_baseline: Lead | None = Field(
        default=None, validation_alias="best_referee", serialization_alias="best_referee"
    )
    champion: Lead | None = None
    smallest_lead: SmallestLead | None = None
    """Over the champion, or else over the runner-up. No gate tests it with "not-worse"."""
    warnings: list[str]


class ChampionName(Part):
    """A model that the candidates were compared with."""

    model: str
    model_hash: Digest


class Look(Part):
    """One look at the champion: the test of every other candidate, and the level that is left for this look."""

    absent_when_none = frozenset({"margin"})

    spans: float
    """How far the last origin moved since the decision behind the champion, in spans of the windows."""
    level: float
    """Probability of an error at this look, whatever the number of candidates."""
    against: ChampionName
    """The champion, or with gate = "not-worse" the reference."""
    margin: float | None = None
    tests: dict[str, DifferenceTest]
    """By candidate."""


class WhyNot(Part):
    """Why a candidate is not the winner."""

    model: str
    why_not: str


class WindowsSummary(Part):
    """The test origins that were judged."""

    windows_hash: Digest
    count: Count
    first: int
    """UTC nanoseconds of the first origin."""
    last: int
    spacing: float
    """Mean rows between two origins, without the jumps over windows that do not count."""
    dropped: Count
    empty_cells: Count


class YardstickRecord(Part):
    """The scale of the errors."""

    targets: list[str]
    width: list[float]
    """Range of each target over train."""
    season_error: list[float] | None
    no_mase: str | None
    """Why there is no MASE."""


class WeightsRecord(Part):
    """Weights of the composite score."""

    rmse: float
    mae: float
    mse: float


class RulesRecord(Part):
    """The rules of the judge, as the Spec had them."""

    absent_when_none = frozenset({"margin"})

    weights: WeightsRecord
    gate: str
    margin: float | None = None
    """With gate = "not-worse"."""
    min_skill: float | str
    min_coverage: float | str
    max_bundle_mb: float | str
    max_latency_ms: float | str


class Evidence(Part):
    """Digests of what a decision rests on, as it was when the decision was made."""

    objects: dict[str, Digest]
    """SHA-256 of stored objects by key: meta.json of the rows; of each candidate with a forecast, result.json of the
    model and of its windows, and the forecasts; of each model that they were compared with, the last two."""
    baselines: dict[str, Digest]
    """SHA-256 of the forecasts of each baseline that applies, which are not stored: float64, little-endian, of shape
    [windows][horizon][targets], the last axis first."""


def _or_empty(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "object", "maxProperties": 0})


class DecisionRecord(StoredRecord):
    """`decisions/<decision_id>.json`: one decision with everything it rests on."""

    absent_when_none = frozenset({"evidence"})

    # format 1 had another test in its leads and no look; both stay readable as they were
    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: lambda record: {**record, "look": None}}

    v: Literal[2] = 2
    decision_id: Digest
    scope: str
    config_hash: Digest
    outcome: Outcome
    winner: str | None
    reasons: list[str]
    sure: str | None
    """How certain the choice is, in one sentence."""
    why_not: list[WhyNot]
    champion: ChampionName | None
    gates: dict[str, Verdict]
    look: Look | None
    """None where nothing was tested: no champion, one that cannot be compared, gate = "always", or format 1."""
    certainty: Certainty | None = Field(json_schema_extra=_or_empty)
    """An empty object where there is no winner."""
    candidates: list[AnyCandidate]
    """Best first; those without a forecast last."""
    baselines: list[AnyBaseline] = Field(validation_alias="referees", serialization_alias="referees")
    """Best first; those that do not apply last."""
    windows: WindowsSummary
    yardstick: YardstickRecord
    rules: RulesRecord
    preview_sha256: Digest | None
    evidence: Evidence | None = None
    """No part of decision_id; None in the decision of an earlier flts."""

    @field_validator("certainty", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        return None if value == {} else value

    @field_serializer("certainty", mode="wrap")
    def _none_is_empty(self, value: Certainty | None, handler: Any) -> Any:
        return {} if value is None else handler(value)

    def row(self, model: str | None) -> CandidateRow | None:
        """The row of a candidate that has a forecast."""
        return next((row for row in self.candidates if row.model == model and isinstance(row, CandidateRow)), None)

    @property
    def ranked(self) -> list[CandidateRow]:
        """Candidates with a forecast, best first."""
        return [row for row in self.candidates if isinstance(row, CandidateRow)]

    @property
    def ranked_baselines(self) -> list[BaselineRow]:
        """Baselines with a forecast, best first."""
        return [row for row in self.baselines if isinstance(row, BaselineRow)]


Cells = list[list[float | None]]
"""[origins][targets], None where there is no value."""


class Preview(StoredRecord):
    """`decisions/<decision_id>.preview.json`: the last scored origins of the winner at step 1."""

    v: Literal[1] = 1
    model: str
    targets: list[str]
    time: list[int]
    """UTC nanoseconds of the forecast rows."""
    truth: Cells
    y_hat: Cells
    lower: Cells
    upper: Cells
