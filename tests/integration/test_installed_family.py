"""The example package, installed as pip would: its own tests pass, and every command works with its family."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from tests.support import ROOT
from tests.support.distributions import MEAN, write_distribution
from tests.support.experiments import small_spec
from tests.support.series import hourly, split
from tests.support.services import TEST, all_services, context_on, serving, start_run, wait_for_judgement

from flts.backends.bus_memory import MemoryBus
from flts.contracts.records.base import parse_record
from flts.contracts.records.model import Manifest, PackageRecord
from flts.serve.follow import champion_of
from flts.spec.installed import GROUP, discover
from flts.wiring import open_store

EXAMPLE = ROOT / "examples/drift-model"
PROJECT = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
SPEC = """
[dataset]
name = "load"
source = "."
targets = ["load"]
[task]
input_length = 12
horizon = 3
[models.drift]
rows = 24
[models.ridge]
"""


class Machine:
    """Where some distributions are installed, and a folder with rows."""

    def __init__(self, folder: Path) -> None:
        self.site, self.folder = folder / "site", folder / "work"
        self.site.mkdir()
        self.folder.mkdir()
        for part, rows in zip(("", "_test"), split(hourly(300), 60), strict=True):
            rows.write_csv(self.folder / f"load{part}.csv")
        (self.folder / "flts.toml").write_text(SPEC)

    def install(self) -> None:
        """As `pip install examples/drift-model` would."""
        shutil.copy(EXAMPLE / "flts_drift.py", self.site)
        points: dict[str, str] = PROJECT["entry-points"][GROUP]
        write_distribution(self.site, PROJECT["name"], PROJECT["version"], points)

    def python(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A process that finds what is installed."""
        path = os.pathsep.join([str(self.site), *sys.path])
        environment = {**os.environ, "PYTHONPATH": path, "FLTS_TRACKING": "off"}
        return subprocess.run(
            [sys.executable, *arguments], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def flts(self, *arguments: str, code: int = 0) -> str:
        """What a command prints: on stdout when it succeeds, on stderr when it does not."""
        ended = self.python("-m", "flts", *arguments)
        assert ended.returncode == code, ended.stderr
        return ended.stderr if code else ended.stdout


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """With the example installed."""
    made = Machine(tmp_path)
    made.install()
    return made


def test_the_tests_of_the_example_pass(machine: Machine) -> None:
    shutil.copytree(EXAMPLE, machine.folder / "drift-model")
    ended = machine.python("-m", "pytest", "-q", "-p", "no:cacheprovider", "drift-model")
    assert ended.returncode == 0, ended.stdout
    assert "passed" in ended.stdout
    assert "failed" not in ended.stdout


def test_its_family_is_judged_promoted_and_asked_and_named_where_it_is_absent(machine: Machine) -> None:
    result: dict[str, Any] = json.loads(machine.flts("run", "--json"))
    board = {row["model"]: row["status"] for row in result["decision"]["candidates"]}
    assert board == {"drift": "SUCCESS", "ridge": "SUCCESS"}
    machine.flts("promotions", "promote", result["config_hash"][:12], "drift")
    forecasts = json.loads(machine.flts("forecast", "--input", "load_test.csv", "--json"))
    assert (forecasts["model"]["model_type"], len(forecasts["forecasts"])) == ("DRIFT", 3)
    packages = {}
    for file in machine.folder.rglob("manifest.json"):
        manifest = parse_record(Manifest, file.read_bytes(), str(file))
        assert manifest.to_bytes() == file.read_bytes()
        packages[manifest.model] = manifest.package
    assert packages == {"drift": PackageRecord(package="flts-drift", release="0.1.0"), "ridge": None}

    shutil.rmtree(machine.site)
    said = machine.flts("forecast", "--input", "load_test.csv", code=2)
    assert "pip install 'flts-drift==0.1.0'" in said
    assert "unknown key 'models.drift'" in machine.flts("run", code=2)
    assert "names the model 'drift'" in machine.flts("runs", "plot", code=2)
    assert "drift" in machine.flts("runs", "show", result["config_hash"][:12])


def test_services_fit_judge_and_serve_its_family(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(machine.site))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # of the processes that fit
    discover.cache_clear()
    try:
        store = open_store((machine.folder / "objects").as_uri())
        context = context_on(store, MemoryBus())
        with serving(context, all_services(context, "drift")):
            wait_for_judgement(store, start_run(context, small_spec(("drift",))))
        champion = champion_of(store, "global")
        assert champion.entry.champion.model == "drift"
        assert champion.forecast(TEST).height == 3
    finally:
        discover.cache_clear()
        sys.modules.pop("flts_drift", None)


def test_commands_know_its_family(machine: Machine) -> None:
    shown = json.loads(machine.flts("config", "show", "--json"))
    (rows,) = [row for row in shown if row["key"] == "models.drift.rows"]
    assert (rows["value"], rows["origin"], rows["moves"]) == (24, "flts.toml", ["model_hash(drift)", "config_hash"])
    schema = json.loads(machine.flts("config", "schema"))
    assert schema["$defs"]["DriftParameters"]["properties"]["rows"]["default"] == 0
    assert json.loads(machine.flts("run", "--models", "drift", "--json"))["decision"]["winner"] == "drift"
    machine.flts("init", "load.csv", "--output", "first.toml")
    assert "# installed with flts-drift 0.1.0\n[models.drift]" in (machine.folder / "first.toml").read_text()
    assert "'drift' comes from flts-drift 0.1.0" in machine.flts("doctor")
    assert "FLTS_STORE" in machine.flts("worker", "train", "--model", "drift", code=2)
    assert "unknown model 'drfit'; did you mean 'drift'?" in machine.flts("worker", "train", "--model", "drfit", code=2)


def test_a_broken_distribution_does_not_stop_a_run_that_does_not_name_it(machine: Machine) -> None:
    write_distribution(machine.site, "flts-mean", "1", {"mean": "other_mean:Mean"}, other_mean=MEAN + "\n1 / 0\n")
    machine.flts("run", "--models", "ridge")
    machine.flts("init", "load.csv", "--output", "first.toml")
    assert "flts-mean 1 cannot be loaded" in machine.flts("doctor")
    said = machine.flts("run", "--models", "ridge,mean", code=2)
    assert said.startswith("error: the model 'mean' of flts-mean 1 cannot be loaded: ZeroDivisionError")
    assert len(said.splitlines()) == 1
