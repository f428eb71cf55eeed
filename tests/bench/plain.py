"""References: the same work as plain scripts without FLTS. `python -m tests.bench.plain FOLDER` runs one of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def recurrent(cell: str, x: Any, y: Any, epochs: int, evaluations: int) -> list[float]:
    """Seconds of each epoch with a DataLoader: one training pass, then `evaluations` passes over the same windows."""
    import torch
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(42)
    layer = getattr(torch.nn, cell)(x.shape[2], 128, 2, batch_first=True)
    head = torch.nn.Linear(128, y.shape[1])
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=1e-3)
    loader = DataLoader(TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=64, shuffle=True)
    took = []
    for _ in range(epochs):
        start = time.perf_counter()
        for histories, answers in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(head(layer(histories)[0][:, -1]), answers)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
        with torch.no_grad():
            for _ in range(evaluations):
                for histories, answers in loader:
                    torch.nn.functional.mse_loss(head(layer(histories)[0][:, -1]), answers).item()
        took.append(time.perf_counter() - start)
    return took


def seed_run(folder: Path) -> None:
    """GRU, LSTM and Prophet on the first 50 rows, one after the other; nothing is stored or tracked."""
    import pandas as pd
    from prophet import Prophet

    train = pd.read_csv(folder / "PobleSec.csv", nrows=50, parse_dates=["time"])
    test = pd.read_csv(folder / "PobleSec_test.csv", nrows=50, parse_dates=["time"])
    values = train.drop(columns="time")
    scaled = ((values - values.min()) / (values.max() - values.min())).to_numpy(np.float32)
    x = np.stack([scaled[i - 10 : i] for i in range(10, 50)])
    y = scaled[10:, :1]
    for cell in ("GRU", "LSTM"):
        recurrent(cell, x, y, epochs=10, evaluations=1)
    model = Prophet()
    model.fit(train.rename(columns={"time": "ds", "down": "y"})[["ds", "y"]])
    model.predict(test.rename(columns={"time": "ds"})[["ds"]])


if __name__ == "__main__":
    seed_run(Path(sys.argv[1]))
