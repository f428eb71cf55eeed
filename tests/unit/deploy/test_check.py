"""A deployment that drifts from the file of this machine, or from a run, is named value by value."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.experiments import write_experiment
from tests.support.raising import raises

from flts.contracts.errors import SpecError, UsageError
from flts.deploy.check import against_file, against_manifest, deployed
from flts.spec.sources import load_spec

CHART = ROOT / "deploy/helm/flts"
SEED = CHART / "values-seed.yaml"
LTE = ROOT / "examples/lte/flts.toml"
DRIFTED = """
preprocess:
  enabled: true
  sampleTrainRows: "50"
  sampleTestRows: "30"
  sampleStrategy: "head"
  sampleSeed: "45"
  forceReprocess: "1"
"""
"""What the first system's cluster ran, under a report of 50 rows and seed 42."""
VALUES = """
preprocess: {datasetName: load}
spec:
  dataset: {targets: [load]}
  task: {input_length: 12, horizon: 3}
  models: {ridge: {}}
"""


@pytest.fixture
def values(tmp_path: Path) -> Path:
    """The values of the experiment that `write_experiment` writes."""
    file = tmp_path / "values.yaml"
    file.write_text(VALUES)
    return file


def test_the_drift_of_the_first_system_is_named(tmp_path: Path) -> None:
    drifted = tmp_path / "drifted.yaml"
    drifted.write_text(DRIFTED)
    found = against_file(deployed([SEED, drifted], CHART), load_spec(LTE).spec)
    assert [(one.key, one.deployed, one.other) for one in found] == [
        ("sample.seed", 45, 42),
        ("sample.test_rows", 30, 50),
    ]
    for one in found:
        assert "data_hash" in one.moves
        assert "config_hash" in one.moves


def test_the_values_of_the_report_do_not_drift() -> None:
    assert against_file(deployed([SEED], CHART), load_spec(LTE).spec) == []


def test_the_command_names_the_drift_and_exits_with_1(tmp_path: Path) -> None:
    drifted = tmp_path / "drifted.yaml"
    drifted.write_text(DRIFTED)

    def check(*files: Path) -> subprocess.CompletedProcess[str]:
        named = [word for file in files for word in ("--values", str(file))]
        command = [sys.executable, "-m", "flts", "deploy", "check", str(LTE), *named, "--json"]
        return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, cwd=tmp_path)

    done = check(SEED, drifted)
    assert done.returncode == 1, done.stderr
    assert [one["key"] for one in json.loads(done.stdout)] == ["sample.seed", "sample.test_rows"]
    done = check(SEED)
    assert (done.returncode, json.loads(done.stdout)) == (0, [])


def test_where_the_rows_are_is_no_drift_and_which_they_are_is_one(tmp_path: Path, values: Path) -> None:
    local = load_spec(write_experiment(tmp_path)).spec
    assert against_file(deployed([values], CHART), local) == []
    values.write_text(VALUES.replace("datasetName: load", "datasetName: other"))
    [found] = against_file(deployed([values], CHART), local)
    assert (found.key, found.deployed, found.other, found.moves) == ("dataset.name", "other", "load", ())


def test_a_model_that_only_one_side_has_is_named(tmp_path: Path, values: Path) -> None:
    local = load_spec(write_experiment(tmp_path)).spec
    values.write_text(VALUES.replace("ridge: {}", "ridge: {}, prophet: {}"))
    found = against_file(deployed([values], None), local)
    assert found
    assert {one.key.split(".")[:2][1] for one in found} == {"prophet"}
    assert all(one.other is None for one in found)


def manifest(folder: Path) -> Path:
    """What a run of the experiment in the folder left: the JSON of `flts runs show`."""
    import flts
    from flts.contracts import runs
    from flts.report.evidence import newest_first, run_record
    from flts.settings import Settings
    from flts.wiring import existing_store

    settings = Settings(home=folder / ".flts", tracking="off")
    flts.run(folder / "flts.toml", settings=settings)
    store = existing_store(settings)
    config_hash = newest_first(store)[0].config_hash
    record = run_record(store, config_hash, max(runs.numbers(store, config_hash)))
    file = folder / "manifest.json"
    file.write_text(record.model_dump_json(by_alias=True))
    return file


@pytest.mark.slow
def test_a_run_is_compared_as_its_rows_resolve_the_values(tmp_path: Path, values: Path) -> None:
    write_experiment(tmp_path)
    ran = manifest(tmp_path)
    assert against_manifest(deployed([values], CHART), ran) == []
    values.write_text(VALUES + "  run: {seed: 7}\n  sample: {test_rows: 30}\n")
    found = {one.key: (one.deployed, one.other) for one in against_manifest(deployed([values], CHART), ran)}
    assert found["run.seed"] == (7, 42)
    assert found["sample.test_rows"] == (30, 0)


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"spec": null, "data": null}'])
def test_a_file_that_is_no_manifest_is_refused(tmp_path: Path, values: Path, text: str) -> None:
    file = tmp_path / "manifest.json"
    file.write_text(text)
    with pytest.raises(UsageError) as caught:
        against_manifest(deployed([values], None), file)
    assert caught.value.code in {"not-a-manifest", "manifest-incomplete"}


def test_a_wrong_value_names_its_key(values: Path) -> None:
    values.write_text(VALUES + "  sample: {train_row: 5}\n")
    with raises(SpecError, code="key-unknown", key=["sample.train_row"]):
        deployed([values], CHART)
