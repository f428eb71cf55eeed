"""Values become the very flts.toml, number by number, and the same hash as a file of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support import ROOT
from tests.support.charts import CHART, RUN, Helm, named, written
from tests.support.experiments import write_experiment
from tests.support.raising import raises

from flts.cli.rows import on_rows
from flts.contracts.errors import UsageError
from flts.deploy.values import experiment, read_values
from flts.runner.stored import VERSIONS
from flts.spec.fields import Spec
from flts.spec.lineage import identify
from flts.spec.sources import load_spec, parse_toml, validate

SEED = """
preprocess:
  enabled: true
  sampleTrainRows: "50"
  sampleTestRows: "50"
  sampleStrategy: "head"
  sampleSeed: "42"
  forceReprocess: "1"
"""
"""Appendix B of the report about the first system."""
CASES: list[dict[str, Any]] = [
    {},
    yaml.safe_load(SEED),
    {"preprocess": {"sampleTrainRows": 1_000_000, "sampleSeed": "007", "datasetName": "a b", "extraHashSalt": "é<&>"}},
    {"spec": {"sample": {"train_rows": 10_000_000, "seed": 2**53 - 1}, "run": {"seed": 2**32 - 1}}},
    {"spec": {"sample": {"seed": "9007199254740993"}}},
    {
        "spec": {
            "models": {"gru": {"learning_rate": 1e-7, "hidden_size": 64.0}, "lstm": {}, "ridge": {"alphas": [1e-6]}}
        }
    },
    {"spec": {"models": {"ridge": {"alphas": [0.1, 1e3, 123456789.125, 1e15, 0.000123, 3e-12]}, "gru": None}}},
    {"spec": {"task": {"bounds": [-1.5, 2], "seasons": [24, 168]}, "evaluate": {"min_skill": 0.25}}},
    {"spec": {"task": {"seasons": "infer"}, "preprocess": {"missing": {"max_gap": 0}, "time_features": False}}},
    {"spec": {"dataset": {"time_column": 'a "quoted" \\ name\t\u2028€𝄞', "targets": ["a", "b c"]}}},
    {"spec": {"models": {"drift": {"odd key": {"list": [{"a": 1, "b": [True, "x"]}]}, "empty": {}}}}},
]
REFUSED = [2**53, 2**53 + 1, -(2**60), 1e300]


def mounted(helm: Helm, *arguments: str) -> str:
    """flts.toml in the ConfigMap."""
    text: str = named(helm.render(*arguments), "ConfigMap", "flts-config")["data"]["flts.toml"]
    return text


@pytest.mark.parametrize("values", CASES, ids=lambda values: str(values)[:60])
def test_helm_and_python_write_the_same_text(helm: Helm, values: dict[str, Any], tmp_path: Path) -> None:
    file = written(tmp_path, values)
    text = mounted(helm, "--values", str(file))
    assert text == experiment(read_values([CHART / "values.yaml", file]))
    parse_toml(text, "flts.toml")


@pytest.mark.parametrize("name", ["values-dev.yaml", "values-prod.yaml", "values-seed.yaml"])
def test_they_agree_on_the_values_of_the_chart(helm: Helm, name: str) -> None:
    assert mounted(helm, "--values", name) == experiment(read_values([CHART / "values.yaml", CHART / name]))


@pytest.mark.parametrize("number", ["1e-3", "5e-324", "1.", ".5", "1_000", "0x1F", "1e6", "-0.0", "12345678.9", "0.10"])
def test_they_read_a_number_of_yaml_alike(helm: Helm, number: str, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(f"spec: {{models: {{other: {{x: {number}}}}}}}\n")
    assert mounted(helm, "--values", str(file)) == experiment(read_values([CHART / "values.yaml", file]))


@pytest.mark.parametrize("text", ["1:30", "2026-11-30", "1e", "0x", "no1"])
def test_they_read_what_only_looks_like_a_number_as_text(helm: Helm, text: str, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(f"spec: {{dataset: {{name: {text}}}}}\n")
    assert f'dataset.name = "{text}"' in mounted(helm, "--values", str(file))
    assert f'dataset.name = "{text}"' in experiment(read_values([file]))


@pytest.mark.parametrize("number", REFUSED)
def test_a_number_that_helm_would_change_is_refused(helm: Helm, number: float, tmp_path: Path) -> None:
    values = {"spec": {"models": {"other": {"x": [1, number]}}}}
    said = helm.refused("--values", str(written(tmp_path, values)))
    assert "spec.models.other.x[1]: a number beyond 2^53 - 1 does not arrive exact" in said
    with raises(UsageError, code="number-not-exact", key="spec.models.other.x[1]"):
        experiment(values)


def test_a_large_number_is_refused_from_the_command_line_too(helm: Helm) -> None:
    assert "does not arrive exact" in helm.refused("--set", "spec.sample.seed=9007199254740993")
    assert 'sample.seed = "9007199254740993"' in mounted(helm, "--set-string", "spec.sample.seed=9007199254740993")


def test_a_value_in_two_places_is_refused(helm: Helm, tmp_path: Path) -> None:
    values = {"preprocess": {"sampleSeed": 0}, "spec": {"sample": {"seed": 0}}}
    said = helm.refused("--values", str(written(tmp_path, values)))
    assert "preprocess.sampleSeed and spec.sample.seed are the same value" in said
    with raises(UsageError, code="value-twice"):
        experiment(values)


def config_hash(text: str, folder: Path) -> str:
    """The config_hash of an experiment whose rows lie in the folder."""
    file = folder / "flts.toml"
    file.write_text(text)
    loaded = load_spec(file, overrides=["dataset.source=."])
    rows = on_rows(loaded)
    assert not isinstance(rows, str), rows
    from flts.preprocess import CODE_VERSION
    from flts.preprocess.stage import preprocess
    from flts.wiring import open_raw, open_store

    store = open_store("memory:///")
    data_hash = preprocess(loaded.spec, open_raw(loaded.spec.dataset, folder), store, CODE_VERSION).data_hash
    return identify(rows.spec, data_hash, VERSIONS).config_hash


LOCAL = """
v = 2
[dataset]
name = "load"
source = "."
targets = ["load"]
[sample]
train_rows = 200
test_rows = 50
strategy = "tail"
[task]
input_length = 12
horizon = 3
[models.ridge]
alphas = [0.001, 0.1, 1000000.0, 0.0000001]
[evaluate]
windows = 40
min_skill = 0.125
[run]
seed = 1000000
"""
FROM_FILE = """
preprocess: {sampleTrainRows: "200", sampleTestRows: 50, sampleStrategy: tail, datasetName: load, forceReprocess: "1"}
spec:
  dataset: {targets: [load]}
  task: {input_length: 12, horizon: 3.0}
  models: {ridge: {alphas: [1e-3, 0.1, 1000000, 1.0e-7]}}
  evaluate: {windows: 40, min_skill: 0.125}
  run: {seed: 1000000}
"""
FROM_SET = (
    *("--set", "preprocess.sampleTrainRows=200,preprocess.sampleTestRows=50,preprocess.sampleStrategy=tail"),
    *("--set", "preprocess.datasetName=load,spec.dataset.targets={load},spec.task.input_length=12"),
    *("--set", "spec.task.horizon=3,spec.models.ridge.alphas={1e-3,0.1,1000000,1.0e-7},spec.evaluate.windows=40"),
    *("--set", "spec.evaluate.min_skill=0.125,spec.run.seed=1000000"),
)


def test_values_give_the_config_hash_of_the_local_file(helm: Helm, tmp_path: Path) -> None:
    write_experiment(tmp_path)
    file = tmp_path / "values.yaml"
    file.write_text(FROM_FILE)
    local = config_hash(LOCAL, tmp_path)
    assert config_hash(mounted(helm, "--values", str(file)), tmp_path) == local
    assert config_hash(mounted(helm, *FROM_SET), tmp_path) == local
    assert config_hash(LOCAL.replace("1000000\n", "1000001\n"), tmp_path) != local


def test_the_values_of_the_first_system_work_unchanged(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text(SEED)
    spec = validate(parse_toml(mounted(helm, "--values", str(file)), "flts.toml"))
    sample = spec.sample
    assert (sample.train_rows, sample.test_rows, sample.strategy, sample.seed) == (50, 50, "head", 42)
    assert SEED.strip() in (CHART / "values-seed.yaml").read_text()


def test_the_seed_values_are_the_experiment_of_the_example(helm: Helm) -> None:
    spec = validate(parse_toml(mounted(helm, "--values", "values-seed.yaml"), "flts.toml"))
    assert spec.identity() == load_spec(ROOT / "examples/lte/flts.toml").spec.identity()


def test_the_trainers_are_the_models_of_the_experiment(helm: Helm) -> None:
    def trained(*arguments: str) -> list[str]:
        found = [one["metadata"]["name"] for one in helm.render(*arguments) if one["kind"] == "Deployment"]
        return sorted(name.removeprefix("flts-train-") for name in found if name.startswith("flts-train-"))

    assert trained() == Spec().trained
    assert trained("--values", "values-seed.yaml") == ["gru", "lstm", "prophet"]
    assert trained(*RUN, "--set-json", 'spec.models={"ridge": {}, "my_own": {}}') == ["my-own", "ridge"]
    assert trained(*RUN, "--set-json", 'spec.models={"ridge": {}, "gru": {}, "ensemble": {}}') == ["gru", "ridge"]
