"""What is generated from the code and the comments is what the generator would write."""

from __future__ import annotations

import importlib.util

import pytest
from tests.support import ROOT
from tests.support.charts import CHART, Helm


def generated() -> dict[str, str]:
    """The files of deploy/helm/generate.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("generate_chart", ROOT / "deploy/helm/generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    files: dict[str, str] = module.files()
    return files


def test_the_files_are_those_of_the_code() -> None:
    assert {name: (CHART / name).read_text() for name in generated()} == generated(), "run `make chart`"


@pytest.mark.parametrize(
    ("key", "named"),
    [
        ("preprocess.sampleTrainRow=5", "sampleTrainRow"),
        ("spec.sample.train_row=5", "train_row"),
        ("spec.modells.ridge=1", "modells"),
        ("trainers.perModel.gru.replica=2", "replica"),
        ("replicas=2", "replicas"),
        ("spec.sample.strategy=heads", "strategy"),
        ("preprocess.sampleSeed=-1", "sampleSeed"),
        ("serve.replicas=two", "replicas"),
    ],
)
def test_an_unknown_key_and_a_wrong_value_are_refused(helm: Helm, key: str, named: str) -> None:
    assert named in helm.refused("--set", key)


@pytest.mark.parametrize("key", ["global.anything.at=all", "enabled=true", "spec.models.drift.rate=2"])
def test_what_a_parent_chart_and_another_package_set_is_accepted(helm: Helm, key: str) -> None:
    assert helm.render("--set", key)
