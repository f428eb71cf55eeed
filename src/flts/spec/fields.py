"""The experiment: every value that can change a number, documented at its field, validated and hashed.

A value that cannot change a number is in `settings.py`. Fields marked as locators only say where the data is; they
are in no hash, because the data itself is. Within one Spec version a default never changes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from flts.spec.dataset import Dataset
from flts.spec.installed import installed_families
from flts.spec.models import DEFAULT_MODELS, ENSEMBLE, Models, models_with
from flts.spec.table import HASHED_WHEN_CHANGED, LOCATOR, Fraction, NonNegative, Positive, Table

ResampleRule = Literal["off", "mean", "sum", "first", "last", "min", "max"]


class Sample(Table):
    """Use one contiguous block of the rows; picking single rows would break up the windows."""

    train_rows: NonNegative = 0
    """Rows kept of train; 0 keeps all."""
    test_rows: NonNegative = 0
    """Rows kept of test; 0 keeps all."""
    strategy: Literal["head", "tail", "random"] = "head"
    """Position of the block; 'random' draws its start with numpy's PCG64([seed, 0]) and, for test, ([seed, 1])."""
    seed: NonNegative = 42
    """Seed of 'random'."""


class Missing(Table):
    """What to do with empty cells of the features; truth is never filled."""

    max_gap: NonNegative = 5
    """The last value is carried forward over at most this many rows; beyond them the train median is used."""
    drop_columns_above: Annotated[float, Field(ge=0.0, le=1.0)] = 0.33
    """A covariate with a larger share of empty cells in train is dropped."""


class Outliers(Table):
    """Clip extreme cells of train (and of a history) to limits fitted on train."""

    enabled: bool = False
    """Off by default: clipping is a decision about the data."""
    method: Literal["iqr", "quantile"] = "iqr"
    """iqr: quartiles ± factor × interquartile range; quantile: the outermost `factor` percent on each side."""
    factor: Annotated[float, Field(gt=0.0)] = 1.5
    """Multiple of the interquartile range, or percent of the rows on each side."""

    @model_validator(mode="after")
    def _sides_do_not_meet(self) -> Self:
        if self.method == "quantile" and self.factor >= 50.0:
            raise ValueError(f"factor = {self.factor} percent on each side leaves nothing; use less than 50")
        return self


class Preprocess(Table):
    """How rows become features; every statistic is fitted on train only."""

    missing: Missing = Missing()
    """Rules for empty cells."""
    outliers: Outliers = Outliers()
    """Rules for extreme cells."""
    time_features: bool = True
    """Sine and cosine of minute of day, day of week and day of year in local time, never scaled; each of the three only
    where train holds its cycle at least twice and a step is shorter than it."""
    lags: list[Positive] = []
    """Adds, for each k, a column with the target k rows earlier."""
    scaler: Literal["minmax", "standard", "robust", "maxabs", "none"] = "minmax"
    """Scaling of the feature columns; the targets of a fit are always scaled to their range over train."""
    constant: float = 0.0
    """Added to every feature value before scaling."""
    hash_salt: str = ""
    """Changes the hashes but no number: to do everything again under new hashes."""
    resample: ResampleRule = "off"
    """How several rows of one step become one, before anything else: the mean (sum, ...) of the values in each column,
    or an empty cell without any. Where rows lie closer than the step, steps start at full hours, days or months in
    dataset.timezone. 'off' refuses rows that share a step or lie off the grid. An absent row needs no resampling: it is
    a row of empty cells. The rule holds for every history that is forecast from, too."""

    @field_validator("lags")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) != len(value):
            raise ValueError(f"lags contains a number twice: {value}")
        return sorted(value)


class Task(Table):
    """The forecast that every model is asked for."""

    input_length: Positive = 10
    """Rows of history in a window."""
    horizon: Positive = 1
    """Rows to forecast, all at once."""
    seasons: Literal["infer"] | list[Annotated[int, Field(ge=2)]] = "infer"
    """Season lengths in steps, shortest first; 'infer' takes day, week and year where a whole number of steps makes one
    and train holds two of them."""
    min_measured: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75
    """Share of the history rows of a window that must hold every target for the window to count. Other windows are left
    out, for every model alike."""
    bounds: Literal["auto", "off"] | list[float] = "auto"
    """Lowest and highest forecast, such as [0.0, 1.0]. 'auto': a target that is never negative in train is never
    forecast below 0, and one that never leaves 0 to 1 never above 1; 'off' for a price below 1, say, that may rise."""

    @field_validator("bounds")
    @classmethod
    def _two_limits(cls, value: Literal["auto", "off"] | list[float]) -> Literal["auto", "off"] | list[float]:
        if isinstance(value, list) and not (len(value) == 2 and all(map(math.isfinite, value)) and value[0] < value[1]):
            raise ValueError(f"bounds = {value} is not a range; use two finite numbers, the smaller first")
        return value

    @field_validator("seasons")
    @classmethod
    def _ascending(cls, value: Literal["infer"] | list[int]) -> Literal["infer"] | list[int]:
        return value if value == "infer" else sorted(set(value))


class Train(Table):
    """Rules that all fits share."""

    validation_fraction: Annotated[float, Field(gt=0.0, le=0.5)] = 0.1
    """Share of the train windows, the last ones, on which every choice inside a model is made."""
    patience: Positive = 3
    """Epochs without a better validation loss before a fit stops; for the models whose table has `epochs`."""


class Weights(Table):
    """The composite score; lower wins. Errors are scaled by the target's range over train."""

    rmse: Annotated[float, Field(ge=0.0)] = 0.5
    """Weight of the root mean squared error."""
    mae: Annotated[float, Field(ge=0.0)] = 0.3
    """Weight of the mean absolute error."""
    mse: Annotated[float, Field(ge=0.0)] = 0.2
    """Weight of the mean squared error."""

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.rmse + self.mae + self.mse <= 0.0:
            raise ValueError("the weights sum to zero, so every model would score the same; set one of them above zero")
        return self


class Evaluate(Table):
    """How the judge compares and when it promotes."""

    windows: NonNegative = 500
    """At most this many test origins, the same for every model: one from each of as many equal parts of test, at a
    place that is drawn; 0 takes all."""
    step: NonNegative = 0
    """Steps between two origins, counted back from the last one; 0 takes one origin from each part of test instead."""
    weights: Weights = Weights()
    """Weights of the composite score."""
    gate: Literal["beats-champion", "not-worse", "always"] = "beats-champion"
    """beats-champion: the best candidate is promoted when a test at 5 % shows that it is better than the champion;
    not-worse: when it shows that it is less than `margin` worse than the last champion that beats-champion or a person
    chose; always: without a test."""
    margin: Fraction = 0.02
    """With gate = "not-worse": how much worse a new champion may be, as a share of the score it is compared with."""
    min_skill: float | Literal["warn", "off"] = "warn"
    """Skill against the best baseline below which nothing is promoted; 'warn' promotes anyway, with a warning."""
    min_coverage: Annotated[float, Field(gt=0.0, lt=1.0)] | Literal["off"] = "off"
    """Coverage that the 80 % interval of a model must have for it to be promoted."""
    max_bundle_mb: Annotated[float, Field(gt=0.0)] | Literal["off"] = "off"
    """Size in megabytes above which a model is not promoted."""
    max_latency_ms: Annotated[float, Field(gt=0.0)] | Literal["off"] = "off"
    """Milliseconds for one answer with its interval above which a model is not promoted; measured once, by the first
    judge."""


class Run(Table):
    """Other values that change the results."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of every random choice inside a fit."""
    threads: Positive = 1
    """Threads of each trainer; part of the result, so part of the hash."""


class Spec(Table):
    """One experiment."""

    upgrades: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: dict}
    """From a stored Spec of an older version to the next one. Version 1 has the same keys, and other numbers follow
    from them: it is upgraded to be shown, never to be run."""

    v: Literal[2] = 2
    """Version of this format; a file without it is read as this version. `flts config upgrade` brings an older file to
    it."""
    dataset: Dataset = Dataset()
    """The rows."""
    sample: Sample = Sample()
    """How many of the rows."""
    preprocess: Preprocess = Preprocess()
    """How rows become features."""
    task: Task = Task()
    """The task, the same for every model."""
    train: Train = Train()
    """Rules of every fit."""
    models: SerializeAsAny[Models] = Field(
        default_factory=lambda: Models.model_validate({name: {} for name in DEFAULT_MODELS})
    )
    """The candidates."""
    evaluate: Evaluate = Evaluate()
    """How forecasts are judged."""
    run: Run = Run()
    """Seed and threads."""

    @field_validator("models", mode="before")
    @classmethod
    def _with_installed_families(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        others = [name for name in value if name not in Models.model_fields]
        installed = [name for name in others if name in installed_families()]
        return models_with(installed).model_validate(value) if installed else value

    @field_validator("models")
    @classmethod
    def _all_by_default(cls, value: Models) -> Models:
        return Models.model_validate({name: {} for name in DEFAULT_MODELS}) if not any(dict(value).values()) else value

    @field_validator("models")
    @classmethod
    def _ensemble_has_members(cls, value: Models) -> Models:
        named = [name for name, table in value if table is not None]
        if named == [ENSEMBLE]:
            raise ValueError(f"'{ENSEMBLE}' is the mean of other models, and no other is named; name two or more")
        return value

    @property
    def trained(self) -> Sequence[str]:
        """The models of this experiment that trainers fit, sorted: all but the ensemble, which the judge makes."""
        return [name for name in self.expected if name != ENSEMBLE]

    @property
    def expected(self) -> Mapping[str, Table]:
        """The models of this experiment by name, sorted."""
        named = ((name, getattr(self.models, name)) for name in sorted(type(self.models).model_fields))
        return {name: table for name, table in named if table is not None}

    def identity(self) -> dict[str, Any]:
        """The values that can change a number, defaults filled in, as plain JSON types; locators are left out.

        A field that was added later is left out too while it has its default.
        """
        return _identity(self, everything=False)

    def hashable(self) -> dict[str, Any]:
        """The same with every field that could be hashed, for `lineage.moves`."""
        return _identity(self, everything=True)


def _identity(table: Table, *, everything: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, info in type(table).model_fields.items():
        value = getattr(table, name)
        if value is None or info.json_schema_extra == LOCATOR:
            continue
        late = info.json_schema_extra == HASHED_WHEN_CHANGED and not everything
        if late and value == info.get_default(call_default_factory=True):
            continue
        fields[name] = _identity(value, everything=everything) if isinstance(value, Table) else value
    return fields
