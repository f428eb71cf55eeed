"""FLTS without extras: what works, and that all missing extras are named before any work."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.bare import hide_extras
from tests.support.experiments import RIDGE, write_experiment

ALL = (
    "training the models 'automfles', 'gbm', 'gru', 'lstm', 'prophet' needs the extras 'gbm', 'prophet', 'stats',"
    " 'torch': pip install 'flts[gbm,prophet,stats,torch]'"
)


@dataclass(frozen=True)
class Bare:
    """The command line where no extra is installed."""

    folder: Path
    environment: Mapping[str, str]

    def python(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder,
            env=os.environ | dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done
        assert "Traceback" not in done.stderr
        return done

    def flts(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "flts", *arguments, code=code)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Of a Python with what FLTS requires and nothing else."""
    return hide_extras(tmp_path_factory.mktemp("bare") / "start")


@pytest.fixture
def bare(tmp_path: Path, environment: Mapping[str, str]) -> Bare:
    write_experiment(tmp_path, RIDGE.replace("[models.ridge]\n", ""))  # no table of a model: all are expected
    return Bare(tmp_path, environment)


def test_only_the_libraries_of_extras_are_hidden(bare: Bare) -> None:
    absent = "torch onnxruntime prophet statsforecast mlflow confluent_kafka fastapi matplotlib pandas pytest"
    find = "import importlib.util as u, sys; print(*[name for name in sys.argv[1:] if u.find_spec(name)])"
    assert bare.python("-c", find, *absent.split(), "numpy", "polars", "flts").stdout.split() == [
        "numpy",
        "polars",
        "flts",
    ]


def test_init_writes_what_is_installed_and_the_experiment_runs_and_forecasts(bare: Bare) -> None:
    bare.flts("data", "inspect", "load.csv")
    made = bare.flts("init", "load.csv", "--target", "load", "--force")
    assert "by ridge\n" in made.stdout
    assert f"not installed, so only a comment in flts.toml: {ALL}" in made.stdout
    text = (bare.folder / "flts.toml").read_text()
    assert [*tomllib.loads(text)["models"]] == ["ridge"]
    for model in ("automfles", "gbm", "gru", "lstm", "prophet"):
        assert f"# not installed: the model '{model}' needs the extra" in text
        assert f"# [models.{model}]" in text
    assert "promoted  ridge is champion" in bare.flts("run").stdout
    assert len(bare.flts("forecast", "--input", "load.csv").stdout.splitlines()) > 1


def test_a_run_names_every_missing_extra_before_it_touches_the_rows(bare: Bare) -> None:
    (bare.folder / "load.csv").unlink()
    done = bare.flts("run", code=2)
    assert ALL in done.stderr
    assert "constraints.txt" not in done.stderr
    assert not (bare.folder / ".flts").exists()


def test_a_run_of_chosen_models_needs_the_extras_of_those(bare: Bare) -> None:
    assert "promoted  ridge is champion" in bare.flts("run", "--models", "ridge").stdout
    assert "a plot needs the extra 'report': pip install 'flts[report]'" in bare.flts("runs", "plot", code=2).stderr
    done = bare.flts("run", "--models", "ridge,gru", code=2)
    assert "the model 'gru' needs the extra 'torch': pip install 'flts[torch]'" in done.stderr


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (("gateway",), "serve"),
        (("up",), "stack"),
        (("run", "--models", "ridge", "--tracking", "mlflow"), "mlflow"),
        (("run", "--models", "ridge", "--set", 'dataset.holidays="ES"'), "holidays"),
    ],
)
def test_a_command_without_its_library_names_its_extra(bare: Bare, command: tuple[str, ...], extra: str) -> None:
    write_experiment(bare.folder)
    assert f"needs the extra '{extra}': pip install 'flts[{extra}]'" in bare.flts(*command, code=2).stderr


def test_doctor_names_the_extra_of_each_model(bare: Bare) -> None:
    said = bare.flts("doctor", code=1).stdout
    for extra in ("prophet", "stats", "torch"):
        assert f"pip install 'flts[{extra}]'" in said
