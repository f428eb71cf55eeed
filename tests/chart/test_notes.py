"""What Helm prints after an install says what this release does and does not do."""

from __future__ import annotations

import pytest
from tests.support.charts import RUN, Helm


def notes(helm: Helm, *arguments: str) -> str:
    """The notes of a release, which Helm renders for an install only."""
    done = helm.call("install", "flts", ".", "--namespace", "forecasts", "--dry-run=client", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize(
    ("sets", "on", "off"),
    [
        ("secrets.create", "kubectl --namespace forecasts delete secret flts-generated", ""),
        ("test.enabled", "helm --namespace forecasts test flts --logs", ""),
        ("preprocess.enabled", "starts a run of: ", "No run is started: preprocess.enabled is false."),
        ("serve.enabled", "port-forward service/flts-serve 8000", ""),
    ],
)
def test_they_name_what_is_on(helm: Helm, sets: str, on: str, off: str) -> None:
    elsewhere = "s3.existingSecret=a,postgresql.existingSecret=b,gateway.existingSecret=c,serve.existingSecret=d"
    assert on in notes(helm, *RUN)
    without = notes(helm, *RUN, "--set", elsewhere, "--set", f"{sets}=false")
    assert on not in without
    assert off in without


def test_a_release_without_rows_says_what_to_name(helm: Helm) -> None:
    assert "name the rows (preprocess.datasetName or spec.dataset.name) and spec.dataset.targets" in notes(helm)
