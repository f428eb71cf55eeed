"""AutoGluon-TimeSeries as a program of its own: it wants other versions of the same libraries than FLTS.

`zoo.py` calls it with the Python of `.venv-autogluon`. It reads one JSON document (times, series, train, origins,
horizon, frequency, seed) and writes the forecasts [origins, horizon] as its last line. Settings, written down before
the first run: preset `medium_quality` for two minutes, fitted once, on train; without Chronos, whose weights are a
download.
"""

from __future__ import annotations

import json
import sys
import tempfile

import pandas as pd

TIME = 120
WITHOUT = ["Chronos", "Chronos2"]


def main() -> None:
    """Fit on train, and forecast from every origin with all rows before it."""
    from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor

    asked = json.load(sys.stdin)
    times = pd.to_datetime(asked["times"])
    rows = pd.DataFrame({"item_id": "y", "timestamp": times, "target": asked["series"]})
    with tempfile.TemporaryDirectory() as folder:
        predictor = TimeSeriesPredictor(
            prediction_length=asked["horizon"], freq=asked["frequency"], path=folder, verbosity=0
        )
        predictor.fit(
            TimeSeriesDataFrame.from_data_frame(rows[: asked["train"]]),
            presets="medium_quality",
            time_limit=TIME,
            excluded_model_types=WITHOUT,
            random_seed=asked["seed"],
        )
        forecasts = [
            predictor.predict(TimeSeriesDataFrame.from_data_frame(rows[:at]))["mean"].tolist()
            for at in asked["origins"]
        ]
    print(json.dumps(forecasts))


if __name__ == "__main__":
    main()
