"""Prophet: one univariate model of trend and seasonality per target (Taylor and Letham 2018).

Its forecast depends on dates and on the columns that are known ahead: of a history it uses only the last time. These
columns are its regressors where that does not raise the error of the validation windows. It is fitted once, on the
measured rows, and not again at each origin.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Progress
from flts.models.base import Block, Files, Fit, ForecastTask, History, Predictor, Recipe, Window
from flts.preprocess.grid import wall_time
from flts.preprocess.rows import Times, Values
from flts.spec.models import ProphetParameters

if TYPE_CHECKING:
    import pandas as pd
    import prophet


FIXED: Mapping[str, Any] = {
    "uncertainty_samples": 0,  # intervals are conformal, as for every model
    "mcmc_samples": 0,
    "growth": "linear",
    "holidays": None,
    "country_holidays": None,
}
"""Options that have one value in every fit."""
MOST_TERMS = 10
"""Largest order of a Fourier series: that of Prophet's year."""


class _ByDate:
    def __init__(self, models: Sequence[prophet.Prophet], task: ForecastTask) -> None:
        self._models, self._task = models, task

    def predict(self, window: Window) -> Values:
        import pandas as pd

        future = _wall(window.future(self._task.horizon), self._task)
        if any(model.extra_regressors for model in self._models):
            return self.at(future, window.ahead)
        dates, where = np.unique(future, return_inverse=True)
        frame = pd.DataFrame({"ds": pd.DatetimeIndex(dates)})
        # predict() sorts by date; np.unique sorted them already, so its rows keep their places
        forecasts = [model.predict(frame)["yhat"].to_numpy()[where.reshape(future.shape)] for model in self._models]
        return np.stack(forecasts, axis=-1)

    def at(self, future: Times, ahead: Values) -> Values:
        """Forecasts [..., targets] of these local times [...] with these known columns [..., known].

        Each row is by itself: two requests may expect other values for one date.
        """
        order = np.argsort(future, axis=None, kind="stable")
        frame = _frame(future.reshape(-1)[order], ahead.reshape(-1, ahead.shape[-1])[order])
        forecasts = np.empty((future.size, len(self._models)))
        for target, model in enumerate(self._models):
            forecasts[order, target] = model.predict(frame)["yhat"].to_numpy()  # it keeps rows that are sorted
        return forecasts.reshape(*future.shape, -1)

    def extended(self, task: ForecastTask) -> Predictor:
        return _ByDate(self._models, task)


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
        plain = _fit(block, task, recipe, known=False)
        if not task.known:
            return Fit(plain, {})
        files = {False: plain, True: _fit(block, task, recipe, known=True)}
        losses = {known: _loss(self.load(of, task), validation, task) for known, of in files.items()}
        known = losses[True] <= losses[False]
        return Fit(files[known], {"known": known})

    def refit(
        self, block: Block, task: ForecastTask, recipe: Recipe[ProphetParameters], chosen: Mapping[str, Any]
    ) -> Files:
        return _fit(block, task, recipe, known=chosen.get("known", False))

    def load(self, files: Files, task: ForecastTask) -> _ByDate:
        _quiet()
        from prophet.serialize import model_from_json

        models = json.loads(files["model.json"])
        for model in models:
            _refuse_costly(model, _regressors(len(task.known)))
        return _ByDate([model_from_json(json.dumps(model)) for model in models], task)


def _loss(model: _ByDate, validation: Block, task: ForecastTask) -> float:
    """Mean squared scaled error over the rows that the validation windows forecast, each once."""
    rows = np.unique(validation.origins[:, None] + np.arange(task.horizon))
    forecasts = model.at(_wall(validation.times[rows], task), validation.known[rows])
    return float(np.nanmean((forecasts - validation.targets[rows]) ** 2))


def _fit(block: Block, task: ForecastTask, recipe: Recipe[ProphetParameters], *, known: bool) -> Files:
    _quiet()
    import prophet
    from prophet.serialize import model_to_json

    parameters = recipe.parameters
    models = []
    for target in range(task.targets):
        model = prophet.Prophet(
            changepoint_prior_scale=parameters.changepoint_prior_scale,
            seasonality_prior_scale=parameters.seasonality_prior_scale,
            seasonality_mode=parameters.seasonality_mode,
            uncertainty_samples=FIXED["uncertainty_samples"],
        )
        measured = ~np.isnan(block.targets[:, target])
        for name in _regressors(len(task.known) if known else 0):
            model.add_regressor(name)
        ahead = block.known[measured] if known else None
        frame = _frame(_wall(block.times[measured], task), ahead).assign(y=block.targets[measured, target])
        model.fit(frame, seed=recipe.seed)
        models.append(json.loads(model_to_json(model)))
    return {"model.json": json.dumps(models, sort_keys=True).encode()}


def _frame(dates: Times, known: Values | None = None) -> pd.DataFrame:
    """A table as Prophet takes it: local dates [rows], and the known columns [rows, known] as regressors."""
    import pandas as pd

    columns = {} if known is None else dict(zip(_regressors(known.shape[1]), known.T, strict=True))
    return pd.DataFrame({"ds": pd.DatetimeIndex(dates), **columns})


def _regressors(count: int) -> list[str]:
    """Names of the regressors: those of columns may be words that Prophet keeps for itself."""
    return [f"known_{i}" for i in range(count)]


def _refuse_costly(model: Mapping[str, Any], regressors: Sequence[str]) -> None:
    """Refuse options that no fit here sets, with which one forecast takes any time or memory. Raises DamagedObject."""
    names, settings = model["extra_regressors"]
    found = [] if [*names] == [*settings] and [*names] in ([], [*regressors]) else ["extra_regressors"]
    found += ["extra_regressors" for name in settings if settings[name].get("regressor_predictor") is not None]
    found += [name for name, value in FIXED.items() if model[name] != value]
    orders = {name: season["fourier_order"] for name, season in model["seasonalities"][1].items()}
    found += [name for name, order in orders.items() if not 0 < order <= MOST_TERMS]
    if found:
        raise DamagedObject(
            f"model.json is damaged: it has options that flts does not set: {', '.join(found)[:300]}; restore the"
            " bundle from a backup",
            code="options-unusual",
            found=found,
        )


def _wall(times: Times, task: ForecastTask) -> Times:
    """Local time: daily and weekly patterns follow the local clock, and Prophet has no time zones."""
    return wall_time(times, task.fitted.grid.timezone)


def _quiet() -> None:
    """Silence Prophet, which reports a missing plotly, and cmdstanpy, which reports each chain."""
    logging.getLogger("prophet").setLevel(logging.WARNING)
    logging.getLogger("prophet.plot").setLevel(logging.CRITICAL)
    from cmdstanpy.utils import get_logger

    get_logger().setLevel(logging.WARNING)  # its first call sets a level of its own
