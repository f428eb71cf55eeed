"""A comparison with other libraries on the same rows, windows and number of updates.

`make bench-peers`. neuralforecast's GRU and LSTM get the same scaled features as history covariates, the same loss and
as many gradient steps of as many windows as FLTS took; statsforecast and Prophet are used plainly. `zoo.py` then sets
the default models beside other libraries on ten public tasks.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from flts.backends.store import memory_store
from flts.preprocess.transform import transform
from flts.spec.sources import validate
from flts.train.determinism import cores
from flts.train.experiment import Experiment
from flts.train.stage import model_spec, train
from tests.bench.measure import LTE, Figure
from tests.bench.zoo import zoo
from tests.support.experiments import lte_experiment

RECURRENT = {"hidden_size": 128, "num_layers": 2, "batch_size": 64, "learning_rate": 1e-3}
_QUIET = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}


@dataclass(frozen=True)
class Result:
    """Seconds from prepared rows to forecasts of all test windows, and their RMSE, scaled by the range over train."""

    seconds: float
    rmse: float


def peers() -> Iterator[Figure]:
    """On the first system's 50 rows, and on all of PobleSec.

    Times are the best and errors the mean over several seeds, because on 50 rows it decides most of a network's error.
    """
    for setting, sample, epochs, seeds in (("50 rows", 50, 10, 7), ("PobleSec", 0, 3, 2)):
        for name, peer in (
            ("gru", _neuralforecast("GRU")),
            ("lstm", _neuralforecast("LSTM")),
            ("prophet", _prophet),
            ("automfles", _statsforecast),
        ):
            yield _compare(setting, name, peer, [_experiment(name, sample, epochs, seed) for seed in range(seeds)])


def _experiment(name: str, sample: int, epochs: int, seed: int) -> Experiment:
    table = {**RECURRENT, "epochs": epochs} if name in {"gru", "lstm"} else {}
    spec = validate(
        {
            "dataset": {"name": "PobleSec", "targets": ["down"]},
            "sample": {"train_rows": sample, "test_rows": sample},
            "models": {name: table},
            "train": {"patience": epochs},
            # on its own, AutoMFLES chooses its configuration again for every window, which takes seconds each
            "evaluate": {"windows": 10 if name == "automfles" else 500},
            "run": {"seed": seed},
        }
    )
    return lte_experiment(LTE, spec)


def _compare(
    setting: str, name: str, peer: Callable[[Experiment, int], Result], experiments: Sequence[Experiment]
) -> Figure:
    ours, theirs = [], []
    for experiment in experiments if name in {"gru", "lstm"} else experiments[:2]:
        result, updates = _flts(name, experiment)
        ours.append(result)
        theirs.append(peer(experiment, updates))
    our_time, their_time = (min(r.seconds for r in results) for results in (ours, theirs))
    our_error, their_error = (float(np.mean([r.rmse for r in results])) for results in (ours, theirs))
    return Figure(
        f"{name}, {setting}",
        f"{our_time:.2f} s, RMSE {our_error:.4f}",
        "equal or better error, 1.5 × as fast",
        f"peer {their_time:.2f} s, RMSE {their_error:.4f}: {their_time / our_time:.1f} × as fast,"
        f" error ratio {our_error / their_error:.2f}",
        "peers",
    )


def _flts(name: str, experiment: Experiment) -> tuple[Result, int]:
    """The whole stage in this process: fit, intervals, bundle, and forecasts of all windows from the loaded bundle."""
    store = memory_store()
    model = model_spec(experiment.spec, experiment.identity, name)
    start = time.perf_counter()
    trained = train(experiment.dataset, model, experiment.windows, store)
    seconds = time.perf_counter() - start
    forecast = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)["y_hat"]
    windows = len(experiment.dataset.train) - experiment.task.input_length
    updates = len(trained.curve) * math.ceil(0.9 * windows / RECURRENT["batch_size"])
    return Result(seconds, _rmse(experiment, forecast[..., 0])), updates


def _rmse(experiment: Experiment, forecast: Any) -> float:
    truth = experiment.windows.truth(experiment.dataset, experiment.task.horizon).values[..., 0]
    _, width = experiment.task.fitted.target_range
    return float(np.sqrt(np.nanmean((forecast - truth) ** 2)) / width[0])


def _neuralforecast(cell: str) -> Callable[[Experiment, int], Result]:
    def run(experiment: Experiment, updates: int) -> Result:
        from neuralforecast import NeuralForecast, models
        from neuralforecast.losses.pytorch import MSE

        frame, names = _frame(experiment)
        start = time.perf_counter()
        model = getattr(models, cell)(
            h=1,
            input_size=experiment.task.input_length,
            hist_exog_list=names,
            encoder_hidden_size=RECURRENT["hidden_size"],
            encoder_n_layers=RECURRENT["num_layers"],
            decoder_layers=1,
            loss=MSE(),
            max_steps=updates,
            learning_rate=RECURRENT["learning_rate"],
            batch_size=1,
            windows_batch_size=RECURRENT["batch_size"],
            scaler_type="identity",
            random_seed=experiment.spec.run.seed,
            **_QUIET,
        )
        forecaster = NeuralForecast([model], freq="2min")
        test = len(experiment.dataset.test) - experiment.task.input_length
        forecasts = forecaster.cross_validation(frame, n_windows=None, test_size=test, step_size=1, refit=False)
        seconds = time.perf_counter() - start
        scaled = forecasts[cell].to_numpy()[experiment.windows.indices - experiment.task.input_length]
        return Result(seconds, _rmse(experiment, experiment.task.fitted.unscale_targets(scaled[:, None])))

    return run


def _frame(experiment: Experiment) -> tuple[pd.DataFrame, list[str]]:
    """Train and test rows as one series: the scaled target and FLTS's features, on a regular clock."""
    fitted = experiment.task.fitted
    rows = experiment.dataset.train.then(experiment.dataset.test)
    features = transform(rows.times, rows.values, fitted)
    names = [f"x{i}" for i in range(features.shape[1])]
    frame = pd.DataFrame(features, columns=names)
    frame["y"] = fitted.scale_targets(fitted.clean(rows.values)[:, fitted.target_index])[:, 0]
    # with 50 sampled rows, test does not follow train directly; the peer sees one regular series
    frame["ds"] = pd.date_range("2018-01-01", periods=len(frame), freq="2min")
    frame["unique_id"] = "down"
    return frame, [name for name in names if name != f"x{fitted.target_index[0]}"]


def _prophet(experiment: Experiment, updates: int) -> Result:
    from prophet import Prophet

    train_rows, test = experiment.dataset.train, experiment.dataset.test
    column = train_rows.select(experiment.task.fitted.targets)[:, 0]
    start = time.perf_counter()
    model = Prophet()
    model.fit(pd.DataFrame({"ds": pd.DatetimeIndex(train_rows.times), "y": column}))
    times = pd.DatetimeIndex(test.times[experiment.windows.indices])
    forecast = model.predict(pd.DataFrame({"ds": times}))["yhat"].to_numpy()
    return Result(time.perf_counter() - start, _rmse(experiment, forecast[:, None]))


def _statsforecast(experiment: Experiment, updates: int) -> Result:
    """AutoMFLES on the history of every window; each call chooses a configuration."""
    from statsforecast.models import AutoMFLES

    fitted = experiment.task.fitted
    histories = experiment.windows.histories(experiment.dataset)
    wanted = 2 * experiment.task.seasons[0] if experiment.task.seasons else 100
    season = experiment.task.seasons[0] if experiment.task.seasons else None
    start = time.perf_counter()
    forecast = np.empty((len(histories), 1))
    for position, end in enumerate(histories.ends):
        values = histories.context.values[max(0, end - wanted) : end]
        history = fitted.clean(values)[:, fitted.target_index[0]]
        forecast[position] = AutoMFLES(1, season, metric="mse").forecast(history, 1)["mean"]
    return Result(time.perf_counter() - start, _rmse(experiment, forecast))


def main() -> None:
    """Print every line, those of the ten tasks last; names of files as arguments: only these tasks."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore")
    for name in ("pytorch_lightning", "lightning", "prophet", "cmdstanpy"):
        logging.getLogger(name).setLevel(logging.ERROR)
    import torch

    torch.set_num_threads(1)
    print(f"{cores()} cores, one thread each")
    only = sys.argv[1:]
    for figure in itertools.chain(() if only else peers(), zoo(only)):
        print(f"{figure.name}: {figure.measured}; {figure.reference}", flush=True)


if __name__ == "__main__":
    main()
