"""Prophet: one univariate model of trend and seasonality per target (Taylor and Letham 2018).

Its forecast depends on dates alone: a history only says where the forecast starts.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from flts.models.base import Block, Files, Fit, History, Predictor, Recipe, Task, Window
from flts.ports import Progress
from flts.preprocess.rows import Times, Values
from flts.spec import Prophet as Parameters

if TYPE_CHECKING:
    import pandas as pd
    import prophet


class _ByDate:
    def __init__(self, models: Sequence[prophet.Prophet], task: Task) -> None:
        self._models, self._task = models, task

    def predict(self, window: Window) -> Values:
        import pandas as pd

        future = window.future(self._task.horizon)
        dates, where = np.unique(future, return_inverse=True)
        frame = pd.DataFrame({"ds": _dates(dates, self._task)})
        # predict() sorts by date; the dates are sorted and distinct, so the rows stay as they are
        forecasts = [model.predict(frame)["yhat"].to_numpy()[where.reshape(future.shape)] for model in self._models]
        return np.stack(forecasts, axis=-1)


class Prophet:
    """Trend and seasonality by date."""

    name = "prophet"
    version = 1
    extra = "prophet"
    libraries: Sequence[str] = ("prophet", "pandas")
    refits = True
    cost = 2

    def history(self, task: Task) -> History:
        return History(wanted=1, minimum=1, used=False)

    def fit(self, block: Block, tail: Block, task: Task, recipe: Recipe, progress: Progress) -> Fit:
        return Fit(_fit(block, task, recipe), {})

    def refit(self, block: Block, task: Task, recipe: Recipe, chosen: Mapping[str, Any]) -> Files:
        return _fit(block, task, recipe)

    def load(self, files: Files, task: Task) -> Predictor:
        _quiet()
        from prophet.serialize import model_from_json

        return _ByDate([model_from_json(json.dumps(model)) for model in json.loads(files["model.json"])], task)


def _fit(block: Block, task: Task, recipe: Recipe) -> Files:
    _quiet()
    import pandas as pd
    import prophet
    from prophet.serialize import model_to_json

    given = cast(Parameters, recipe.parameters)
    models = []
    for target in range(task.targets):
        model = prophet.Prophet(
            changepoint_prior_scale=given.changepoint_prior_scale,
            seasonality_prior_scale=given.seasonality_prior_scale,
            seasonality_mode=given.seasonality_mode,
            uncertainty_samples=0,  # intervals are conformal, the same way for every model
        )
        model.fit(pd.DataFrame({"ds": _dates(block.times, task), "y": block.targets[:, target]}), seed=recipe.seed)
        models.append(json.loads(model_to_json(model)))
    return {"model.json": json.dumps(models, sort_keys=True).encode()}


def _dates(times: Times, task: Task) -> pd.DatetimeIndex:
    """Local wall time, which is what a daily or weekly habit follows; Prophet knows no zones."""
    import pandas as pd

    return pd.DatetimeIndex(times, tz="UTC").tz_convert(task.fitted.timezone).tz_localize(None)


def _quiet() -> None:
    for name in ("prophet", "prophet.plot", "cmdstanpy"):
        logging.getLogger(name).setLevel(logging.CRITICAL if name == "prophet.plot" else logging.WARNING)
