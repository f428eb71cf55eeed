"""What a decision is made from: plain values, which the judge gathers and pure functions compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flts.contracts.records.decision import KnownUse, WindowsSummary
from flts.evaluate.gate import ChampionForecast
from flts.evaluate.metrics import Yardstick
from flts.evaluate.profile import WallClock
from flts.evaluate.significance import overlap
from flts.preprocess.rows import Values
from flts.spec.fields import Evaluate

Status = Literal["SUCCESS", "FAILED", "N/A"]


@dataclass(frozen=True)
class Candidate:
    """One expected model and its result; all that follows `reason` only with SUCCESS.

    forecast [origins, horizon, targets] in original units; bounds: lower and upper ends of the interval of each level,
    of the same shape, empty with the reason in `no_intervals`; static_bounds: those that the offsets of training alone
    give; adaptive: windows whose intervals follow the errors before them; known_future: what it saw of the rows to
    forecast, None in an experiment that knows nothing of them; latency_ms: measured only where a gate asks for it;
    evidence: SHA-256 of the stored objects behind all of this, by key; validation_sha256: that of its forecasts of the
    validation windows.
    """

    name: str
    model_hash: str
    status: Status
    reason: str | None = None
    bundle_sha256: str | None = None
    forecasts_sha256: str | None = None
    forecast: Values | None = None
    bounds: Mapping[str, tuple[Values, Values]] = field(default_factory=dict)
    static_bounds: Mapping[str, tuple[Values, Values]] = field(default_factory=dict)
    adaptive: int | None = None
    no_intervals: str | None = None
    uses_history: bool | None = None
    known_future: KnownUse | None = None
    bundle_bytes: int | None = None
    latency_ms: float | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    validation_sha256: str | None = None


@dataclass(frozen=True)
class Baseline:
    """A forecast that anyone can make; never promoted. `forecast` is None where it does not apply, with the reason."""

    name: str
    forecast: Values | None
    reason: str | None = None


@dataclass(frozen=True)
class Case:
    """Everything a decision depends on.

    truth [origins, horizon, targets] in original units; spacing: mean rows between neighbouring origins; windows:
    how the origins were chosen, for the record; seed: of the bootstrap; reference: the model that candidates are tested
    against, the champion itself unless gate = "not-worse"; spans: `look.spans_since` of the windows.
    """

    scope: str
    config_hash: str
    candidates: Sequence[Candidate]
    baselines: Sequence[Baseline]
    champion: ChampionForecast | None
    truth: Values
    clock: WallClock
    spacing: float
    yardstick: Yardstick
    rules: Evaluate
    windows: WindowsSummary
    seed: int
    reference: ChampionForecast | None = None
    spans: float = 0.0

    @property
    def overlapping(self) -> int:
        """How many neighbouring origins share forecast steps."""
        return overlap(self.truth.shape[1], self.spacing)
