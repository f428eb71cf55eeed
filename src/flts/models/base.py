"""What a model is: a family that fits, files that hold what was learned, a predictor that forecasts from a history.

The types keep a model from seeing what it is judged on: `fit` learns from a Block of train rows that ends before the
validation windows, `predict` receives a Window that ends at the origin. Targets are scaled to their range over train
in both; models never see original units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from flts.contracts.ports import Progress
from flts.preprocess.known import Known
from flts.preprocess.rows import Times, Values
from flts.preprocess.transform import FittedPreprocess, engineer
from flts.spec.table import Table

P = TypeVar("P", bound=Table)
"""The table of the Spec that holds the parameters of a family."""

Files = Mapping[str, bytes]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
NOTHING = Known()
"""No column is known ahead."""
NONE_KNOWN = np.empty((0, 0))
"""The known columns of a block without any."""


@dataclass(frozen=True)
class ForecastTask:
    """What a model has to forecast, and how its input was preprocessed."""

    input_length: int
    """Rows of a window."""
    horizon: int
    """Rows ahead, all at once."""
    seasons: tuple[int, ...]
    """Season lengths in rows, shortest first; empty when train shows none."""
    fitted: FittedPreprocess
    min_measured: float
    """Share of the rows of a window that must hold every target for it to count."""
    bounds: tuple[tuple[float | None, float | None], ...] = ()
    """Lowest and highest value of each target in original units, None where there is no limit; forecasts are clipped to
    them after the model has answered."""
    known: Known = NOTHING
    """What the model may see of the rows to forecast: nothing, for a family that does not look ahead."""

    @property
    def lookback(self) -> int:
        """Rows before an origin that a window and its lags need."""
        return self.input_length + max(self.fitted.lags, default=0)

    @property
    def targets(self) -> int:
        """How many columns are forecast."""
        return len(self.fitted.targets)


@dataclass(frozen=True)
class Recipe(Generic[P]):
    """How to fit a family. A request needs none of it."""

    parameters: P
    """The values of the family's table in the Spec."""
    patience: int
    """Epochs without a better validation loss before a fit stops: train.patience of the Spec where the family's table
    has `epochs`, a constant elsewhere."""
    seed: int


@dataclass(frozen=True)
class Block:
    """Train rows that a fit may see, and the windows in them.

    times [rows]; features [rows, features]; targets [rows, targets], scaled, NaN where nothing was measured: no model
    learns from a filled target. origins [windows]: the first row that each window forecasts. known [rows, known]: the
    columns that are known ahead, scaled, no cell empty.
    """

    times: Times
    features: Floats
    targets: Values
    origins: Indices
    known: Values = field(default_factory=lambda: NONE_KNOWN)

    def ahead(self, task: ForecastTask) -> Values:
        """The known columns of the rows that each window forecasts: [windows, horizon, known], 0 and 1 span train."""
        ahead: Values = self.known[self.origins[:, None] + np.arange(task.horizon)]
        return ahead

    def windows(self, task: ForecastTask) -> tuple[Floats, Values]:
        """Features [windows, input_length, features] and targets as `answers` gives them."""
        rows = self.origins[:, None] + np.arange(-task.input_length, 0)
        return self.features[rows], self.answers(task)

    def answers(self, task: ForecastTask) -> Values:
        """Targets [windows, horizon, targets] of every window, NaN where nothing was measured."""
        answers: Values = self.targets[self.origins[:, None] + np.arange(task.horizon)]
        return answers


@dataclass(frozen=True)
class Window:
    """Histories of equal length, each ending at its origin.

    times [windows, rows]; cleaned [windows, rows, columns]: original units, filled and clipped; measured
    [windows, rows, columns]: which of its cells were not filled. given [windows, horizon, given]: the given columns of
    `known` in the rows to forecast, cleaned too; None where the model sees nothing of these.
    """

    times: Times
    cleaned: Values
    measured: NDArray[np.bool_]
    fitted: FittedPreprocess
    known: Known = NOTHING
    given: Values | None = None

    @cached_property
    def ahead(self) -> Values:
        """The known columns of the rows to forecast, as `Block.ahead` gives them: [windows, horizon, known]."""
        assert self.given is not None
        return self.known.scaled(self.future(self.given.shape[1]), self.given, self.fitted)

    @cached_property
    def known_before(self) -> Values:
        """The known columns of the history: [windows, rows, known]."""
        return self.known.scaled(self.times, self.cleaned[..., self.known.index(self.fitted)], self.fitted)

    @cached_property
    def features(self) -> Floats:
        """[windows, rows, features]."""
        return engineer(self.times, self.cleaned, self.fitted)

    @cached_property
    def targets(self) -> Values:
        """Past values of the targets, scaled: [windows, rows, targets]."""
        return self.fitted.scale_targets(self.cleaned[..., self.fitted.target_index])

    @cached_property
    def measured_targets(self) -> NDArray[np.bool_]:
        """Which cells of `targets` were not filled."""
        return self.measured[..., self.fitted.target_index]

    def future(self, horizon: int) -> Times:
        """Times of the rows to forecast, [windows, horizon]."""
        return self.fitted.grid.after(self.times[:, -1], horizon)


@dataclass(frozen=True)
class History:
    """How many rows before the origin a model uses, and needs at least."""

    wanted: int
    minimum: int
    used: bool = True
    """False where forecasts depend on dates alone: every test origin is then judged from one fit."""
    refitted: bool = False
    """Whether the model is fitted anew to each history. Its intervals are static then: to follow the errors in a
    history takes a hundred forecasts."""


@dataclass(frozen=True)
class Fit:
    """The result of a fit: files for the bundle, what it chose, and its loss curve.

    curve: one [train loss, validation loss] per epoch, empty for models without epochs. The untrained model, epoch 0,
    has no line in it.
    """

    files: Files
    chosen: Mapping[str, Any]
    curve: Sequence[tuple[float, float]] = ()


class Predictor(Protocol):
    """A loaded model."""

    def predict(self, window: Window) -> Values:
        """Scaled forecasts [windows, horizon, targets], from one step after the end of each history."""


@runtime_checkable
class Extends(Protocol):
    """A predictor that can forecast further than the horizon that it was trained for."""

    def predict(self, window: Window) -> Values:
        """As every predictor."""

    def extended(self, task: ForecastTask) -> Predictor:
        """The same model with the longer horizon of `task`."""


@runtime_checkable
class TargetsAlone(Protocol):
    """A predictor that may look at no covariate; a history without them is answered with the same bits.

    Columns that are known ahead do not count: a history always has them.
    """

    @property
    def targets_alone(self) -> bool:
        """Whether it looks at the targets, their lags and the calendar alone."""


@runtime_checkable
class Family(Protocol[P]):
    """One kind of model. Its methods import heavy libraries; its module does not."""

    @property
    def name(self) -> str:
        """The name of its table in the Spec."""

    @property
    def parameters(self) -> type[P]:
        """The class of its table in the Spec."""

    @property
    def version(self) -> int:
        """Raised when the same input gives another output."""

    @property
    def extra(self) -> str | None:
        """The extra of FLTS that installs its libraries."""

    @property
    def libraries(self) -> Sequence[str]:
        """Import names of the libraries that it needs."""

    @property
    def cost(self) -> int:
        """Rank by fitting time; the most expensive families start first."""

    def history(self, task: ForecastTask) -> History:
        """The history that a request must bring."""

    def fit(self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[P], progress: Progress) -> Fit:
        """Learn from `block`; make every choice on `validation`, the windows of train that come after it.

        Targets of both are NaN where nothing was measured; a loss is taken over the measured cells.
        """

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        """Load the model in these files."""


@runtime_checkable
class Refits(Protocol[P]):
    """A family that is fitted again on all of train, once the validation windows are forecast."""

    def refit(self, block: Block, task: ForecastTask, recipe: Recipe[P], chosen: Mapping[str, Any]) -> Files:
        """Learn from all of train, with the choices of the first fit."""
