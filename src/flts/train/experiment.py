"""A Spec on its processed rows: what all candidates share, and how their stored forecasts are read back."""

from __future__ import annotations

from dataclasses import dataclass

from flts.contracts import layout
from flts.contracts.ports import Store, read_checked
from flts.forecasting.tables import forecasts_from_parquet
from flts.models.base import ForecastTask
from flts.preprocess.rows import Times, Values
from flts.preprocess.stage import ProcessedDataset
from flts.spec.fields import Spec
from flts.spec.lineage import Identity
from flts.train.stage import task_of
from flts.train.windows import Windows, plan_windows, split_tail, train_origins


@dataclass(frozen=True)
class Experiment:
    """Everything about an experiment but its results."""

    spec: Spec
    identity: Identity
    dataset: ProcessedDataset
    windows: Windows
    task: ForecastTask

    @property
    def origins(self) -> Times:
        """UTC ns of the last history row of every test window."""
        origins: Times = self.dataset.test.times[self.windows.indices - 1]
        return origins

    def forecasts(self, store: Store, model_hash: str, forecasts_sha256: str) -> dict[str, Values]:
        """Stored y_hat, lower and upper [origins, horizon, targets] of a model on these windows, digest checked.

        Raises DamagedObject when they are absent, changed, or of other windows.
        """
        key = layout.forecasts(model_hash, self.identity.windows_hash)
        table = read_checked(store, key, forecasts_sha256)
        return forecasts_from_parquet(table, self.origins, self.task.fitted.targets, self.task.horizon)


def plan_experiment(spec: Spec, identity: Identity, dataset: ProcessedDataset) -> Experiment:
    """Windows and task of a Spec. Raises DataError when train or test hold too few rows for one window."""
    given = spec.task
    seasons = None if given.seasons == "infer" else tuple(given.seasons)
    task = task_of(dataset, given.input_length, given.horizon, seasons)
    split_tail(
        train_origins(dataset.train, task.lookback, given.horizon, task.fitted.step),
        given.horizon,
        spec.train.validation_fraction,
    )
    windows = plan_windows(
        dataset, identity.windows_hash, given.input_length, given.horizon, spec.evaluate.windows, spec.evaluate.step
    )
    return Experiment(spec, identity, dataset, windows, task)
