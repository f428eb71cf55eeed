"""AutoMFLES as version 2 wrote it: bundles of that version answer as they were judged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from flts.contracts.errors import DamagedObject
from flts.models.base import ForecastTask, Predictor, Window
from flts.models.naive import mended
from flts.preprocess.rows import Values


class Version2:
    """Fits the chosen configuration to each history, one target at a time.

    configurations: one per target. Raises DamagedObject for one that version 2 did not choose.
    """

    targets_alone = True

    def __init__(
        self, kind: Callable[..., Any], configurations: Sequence[Mapping[str, Any]], task: ForecastTask
    ) -> None:
        grid = _grid(task)
        for one in configurations:
            if one.keys() != grid.keys() or any(one[name] not in values for name, values in grid.items()):
                raise DamagedObject(
                    f"model.json is damaged: flts does not choose the configuration {one!r:.300}; restore the bundle"
                    " from a backup",
                    code="options-unusual",
                )
        self._kind, self._configurations, self._task = kind, configurations, task

    def predict(self, window: Window) -> Values:
        """As every predictor."""
        forecasts = np.empty((len(window.times), self._task.horizon, self._task.targets))
        histories = mended(window.targets, window.measured_targets, self._task)
        for target, configuration in enumerate(self._configurations):
            for row, history in enumerate(histories[..., target]):
                forecasts[row, :, target] = self._continue(np.array(history), configuration)
        return forecasts

    def extended(self, task: ForecastTask) -> Predictor:
        """The same with a longer horizon."""
        return Version2(self._kind, self._configurations, task)

    def _continue(self, history: Values, configuration: Mapping[str, Any]) -> Values:
        if (history == history[0]).all():  # MFLES would forecast 0 or 1 here
            return np.full(self._task.horizon, history[0])
        model = self._kind(verbose=0)
        model.fit(history, **configuration)
        return np.asarray(model.predict(self._task.horizon))


def _grid(task: ForecastTask) -> dict[str, list[Any]]:
    """What version 2 chose from."""
    if not task.seasons:
        return {"smoother": [True, False], "cov_threshold": [0.5, -1], "max_rounds": [5, 20], "multiplicative": [False]}
    season = task.seasons[0]
    return {
        "seasonality_weights": [True, False],
        "smoother": [True, False],
        "ma": [season, season // 2, None],
        "seasonal_period": [None, [season]],
        "multiplicative": [False],
    }
