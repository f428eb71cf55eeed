"""An experiment: what all its candidates share, and how their stored forecasts are read back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from flts.contracts import layout
from flts.contracts.ports import Store, read_checked
from flts.forecasting.tables import forecasts_from_parquet
from flts.models.base import ForecastTask
from flts.preprocess.known import refuse_not_columns
from flts.preprocess.rows import Times, Values
from flts.preprocess.stage import ProcessedDataset
from flts.spec.fields import Spec
from flts.spec.lineage import Identity
from flts.train.stage import task_of
from flts.train.windows import Windows, outages, plan_windows, split_validation, train_origins


@dataclass(frozen=True)
class Experiment:
    """A Spec and its processed rows, with the windows, task and hashes that follow from them; no results."""

    spec: Spec
    identity: Identity
    dataset: ProcessedDataset
    windows: Windows
    task: ForecastTask

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What the windows leave out: those in which too little was measured, and long outages of the targets."""
        targets = " and ".join(self.task.fitted.targets)
        said = []
        if self.windows.left_out:
            said.append(
                f"{self.windows.left_out:,} test windows are left out: fewer than {self.task.min_measured:.0%} of their"
                f" {self.task.input_length} rows of history hold {targets}, or no row of the horizon does"
            )
        for name, rows in (("train", self.dataset.train), ("test", self.dataset.test)):
            found = outages(rows, self.task)
            if found:
                first, last = max(found, key=lambda outage: outage[1] - outage[0])
                start, end = (self.task.fitted.grid.shown(rows.times[row]) for row in (first, last))
                count = "an outage" if len(found) == 1 else f"{len(found)} outages"
                said.append(
                    f"{name}: {count} of {targets}, longer than a window with its horizon; the longest has"
                    f" {last - first + 1:,} rows, from {start} to {end}"
                )
        return tuple(said)

    @property
    def origins(self) -> Times:
        """Times (UTC ns) of the last history row of each test window."""
        return self.windows.origins(self.dataset)

    def forecasts(self, store: Store, model_hash: str, forecasts_sha256: str) -> dict[str, Values]:
        """Read y_hat, lower and upper [origins, horizon, targets] of a model on these windows; the digest is checked.

        Raises DamagedObject when the object is absent, was changed, or belongs to other windows.
        """
        key = layout.forecasts(model_hash, self.identity.windows_hash)
        table = read_checked(store, key, forecasts_sha256)
        return forecasts_from_parquet(table, self.origins, self.task.fitted.targets, self.task.horizon, key=key)


def plan_experiment(spec: Spec, identity: Identity, dataset: ProcessedDataset) -> Experiment:
    """Plan the windows and the task of a Spec. Raises DataError when train or test has too few rows for a window."""
    refuse_not_columns(spec.dataset.known_future, spec.dataset.targets, dataset.fitted)
    task = task_of(dataset, spec.task)
    split_validation(train_origins(dataset.train, task), task.horizon, spec.train.validation_fraction)
    windows = plan_windows(dataset, identity.windows_hash, task, spec.evaluate.windows, spec.evaluate.step)
    return Experiment(spec, identity, dataset, windows, task)
