"""Prophet: one univariate model of trend and seasonality per target (Taylor and Letham 2018).

Its forecast depends on dates alone: of a history it uses only the last time. It is fitted once, on the measured rows,
and not again at each origin.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.preprocess.grid import wall_time
from flts.preprocess.rows import Times, Values
from flts.spec.models import ProphetParameters

if TYPE_CHECKING:
    import prophet


class _ByDate:
    def __init__(self, models: Sequence[prophet.Prophet], task: ForecastTask) -> None:
        self._models, self._task = models, task

    def predict(self, window: Window) -> Values:
        import pandas as pd

        future = _wall(window.future(self._task.horizon), self._task)
        dates, where = np.unique(future, return_inverse=True)
        frame = pd.DataFrame({"ds": pd.DatetimeIndex(dates)})
        # predict() sorts by date; np.unique sorted them already, so its rows keep their places
        forecasts = [model.predict(frame)["yhat"].to_numpy()[where.reshape(future.shape)] for model in self._models]
        return np.stack(forecasts, axis=-1)


class Prophet:
    """Forecasts trend and seasonality by date."""

    name = "prophet"
    parameters = ProphetParameters
    version = 2
    extra = "prophet"
    libraries: Sequence[str] = ("prophet", "pandas")
    cost = 2

    def history(self, task: ForecastTask) -> History:
        return History(wanted=1, minimum=1, used=False)

    def fit(
        self, block: Block, validation: Block, task: ForecastTask, recipe: Recipe[ProphetParameters], progress: Progress
    ) -> Fit:
        return Fit(_fit(block, task, recipe), {})

    def refit(
        self, block: Block, task: ForecastTask, recipe: Recipe[ProphetParameters], chosen: Mapping[str, Any]
    ) -> Files:
        return _fit(block, task, recipe)

    def load(self, files: Files, task: ForecastTask) -> Predictor:
        _quiet()
        from prophet.serialize import model_from_json

        return _ByDate([model_from_json(json.dumps(model)) for model in json.loads(files["model.json"])], task)


def _fit(block: Block, task: ForecastTask, recipe: Recipe[ProphetParameters]) -> Files:
    _quiet()
    import pandas as pd
    import prophet
    from prophet.serialize import model_to_json

    parameters = recipe.parameters
    models = []
    for target in range(task.targets):
        model = prophet.Prophet(
            changepoint_prior_scale=parameters.changepoint_prior_scale,
            seasonality_prior_scale=parameters.seasonality_prior_scale,
            seasonality_mode=parameters.seasonality_mode,
            uncertainty_samples=0,  # intervals are conformal, as for every model
        )
        measured = ~np.isnan(block.targets[:, target])
        dates = pd.DatetimeIndex(_wall(block.times[measured], task))
        model.fit(pd.DataFrame({"ds": dates, "y": block.targets[measured, target]}), seed=recipe.seed)
        models.append(json.loads(model_to_json(model)))
    return {"model.json": json.dumps(models, sort_keys=True).encode()}


def _wall(times: Times, task: ForecastTask) -> Times:
    """Local time: daily and weekly patterns follow the local clock, and Prophet has no time zones."""
    return wall_time(times, task.fitted.grid.timezone)


def _quiet() -> None:
    """Silence Prophet, which reports a missing plotly, and cmdstanpy, which reports each chain."""
    logging.getLogger("prophet").setLevel(logging.WARNING)
    logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)
    from cmdstanpy.utils import get_logger

    get_logger().setLevel(logging.WARNING)  # its first call sets a level of its own
