"""Experiments on a small series: a Spec, its rows in a memory store, and everything derived from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flts
from flts.backends.store import memory_store, open_store
from flts.contracts.ports import Store
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawInput, RawTable
from flts.runner.claim import prepare
from flts.settings import load_settings
from flts.spec.fields import Spec
from flts.spec.sources import load_spec, validate
from flts.train.experiment import Experiment
from tests.support.series import hourly, split
from tests.support.stored import results

SMALL = {
    "gru": {"hidden_size": 8, "num_layers": 1, "epochs": 2},
    "lstm": {"hidden_size": 8, "num_layers": 2, "epochs": 2},
}
"""Networks that are fitted in a fraction of a second."""


RIDGE = """
v = 2
[dataset]
name = "load"
source = "."
targets = ["load"]
[task]
input_length = 12
horizon = 3
[models.ridge]
"""
SMALL_GRU = "[models.gru]\n" + "".join(f"{name} = {value}\n" for name, value in SMALL["gru"].items())


def write_experiment(folder: Path, text: str = RIDGE) -> Path:
    """flts.toml as a person has it, with its rows beside it; returns the file."""
    for part, rows in zip(("", "_test"), split(hourly(300), 60), strict=True):
        rows.write_csv(folder / f"load{part}.csv")
    file = folder / "flts.toml"
    file.write_text(text)
    return file


def results_alone(experiment: Path) -> Mapping[str, bytes]:
    """The results of two runs of a flts.toml on one machine, which nothing disturbs."""
    loaded, home = load_spec(experiment, environ={}), experiment.parent / "alone"
    for _ in range(2):
        flts.run(loaded.spec, folder=loaded.folder, settings=load_settings(home=home, tracking="off"))
    return results(open_store((home / "objects").as_uri()))


def small_spec(models: tuple[str, ...] = ("ridge",), /, **tables: dict[str, Any]) -> Spec:
    """Forecast `load` 3 hours ahead from 12 hours; further tables of the Spec override."""
    values: dict[str, Any] = {
        "dataset": {"name": "small", "targets": ["load"]},
        "task": {"input_length": 12, "horizon": 3},
        "models": {name: SMALL.get(name, {}) for name in models},
    }
    for name, table in tables.items():
        values[name] = {**values.get(name, {}), **table}
    return validate(values)


def small_experiment(spec: Spec | None = None, rows: Rows | None = None, test: int = 60) -> tuple[Experiment, Store]:
    """An experiment on `rows` (default: 300 hours) whose processed rows lie in a memory store."""
    spec = spec or small_spec()
    store = memory_store()
    train_table, test_table = split(rows or hourly(300), test)
    raw = RawInput(RawTable("train", train_table), RawTable("test", test_table))
    return prepare(store, spec, raw)[1], store


def lte_experiment(folder: Path, spec: Spec) -> Experiment:
    """An experiment on the LTE measurements in `folder`."""
    from flts.wiring import open_raw

    raw = open_raw(spec.dataset.model_copy(update={"source": str(folder)}), folder)
    return prepare(memory_store(), spec, raw)[1]
