"""What Helm prints after an install says what this release does and does not do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from tests.support.charts import CHART, RUN, Helm


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """The chart with its notes as a manifest: notes are rendered for an install only, where Helm 3 asks a cluster."""
    shutil.copytree(CHART, tmp_path / "flts")
    file = tmp_path / "flts/templates/NOTES.txt"
    text = (
        f'{{{{- define "notes" -}}}}\n{file.read_text()}{{{{- end -}}}}\nnotes: {{{{ include "notes" . | toJson }}}}\n'
    )
    file.rename(file.with_name("notes.yaml")).write_text(text)
    return tmp_path / "flts"


def notes(helm: Helm, chart: Path, *arguments: str) -> str:
    """The notes of a release."""
    only = ("--show-only", "templates/notes.yaml")
    done = helm.call("template", "flts", str(chart), "--namespace", "forecasts", *only, *arguments)
    assert done.returncode == 0, done.stderr
    found: str = yaml.safe_load(done.stdout)["notes"]
    return found


@pytest.mark.parametrize(
    ("sets", "on", "off"),
    [
        ("secrets.create", "kubectl --namespace forecasts delete secret flts-generated", ""),
        ("test.enabled", "helm --namespace forecasts test flts --logs", ""),
        ("preprocess.enabled", "starts a run of: ", "No run is started: preprocess.enabled is false."),
        ("serve.enabled", "port-forward service/flts-serve 8000", ""),
    ],
)
def test_they_name_what_is_on(helm: Helm, chart: Path, sets: str, on: str, off: str) -> None:
    elsewhere = "s3.existingSecret=a,postgresql.existingSecret=b,gateway.existingSecret=c,serve.existingSecret=d"
    assert on in notes(helm, chart, *RUN)
    without = notes(helm, chart, *RUN, "--set", elsewhere, "--set", f"{sets}=false")
    assert on not in without
    assert off in without


def test_a_release_without_rows_says_what_to_name(helm: Helm, chart: Path) -> None:
    assert "name the rows (preprocess.datasetName or spec.dataset.name) and spec.dataset.targets" in notes(helm, chart)
