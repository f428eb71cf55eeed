"""The requests and limits of the chart are those that its page measured."""

from __future__ import annotations

import re

import pytest
from ruamel.yaml import YAML
from tests.bench.resources import cpu, limit, request
from tests.support import ROOT

ROW = re.compile(r"^\| ([\w() ]+) \| (\d+) MiB \| ([\d.]+) s \| (\d+)Mi, (a core|\d+m) \| (\d+)Mi \|$", re.MULTILINE)
MEASURED = {row[0]: row[1:] for row in ROW.findall((ROOT / "docs/kubernetes.md").read_text())}
VALUES = YAML(typ="safe").load((ROOT / "deploy/helm/flts/values.yaml").read_text())
KEYS = {"MLflow": "mlflow", "S3 (SeaweedFS)": "s3", "PostgreSQL": "postgresql"}
TRAINERS = {role for role in MEASURED if role.startswith("train ")}


def test_every_role_of_a_run_was_measured() -> None:
    assert {KEYS.get(role, role) for role in MEASURED.keys() - TRAINERS} == {
        *("prepare", "preprocess", "evaluate", "forecast", "gateway", "serve"),
        *("mlflow", "s3", "postgresql"),
    }
    assert {"train gru", "train prophet", "train ridge"} == TRAINERS


@pytest.mark.parametrize("role", MEASURED)
def test_a_line_follows_the_rule(role: str) -> None:
    peak, seconds, memory, cores, most = MEASURED[role]
    assert (int(memory), int(most)) == (request(int(peak)), limit(int(peak)))
    assert cores == ("a core" if role in TRAINERS else f"{cpu(float(seconds))}m")


@pytest.mark.parametrize("role", sorted(MEASURED.keys() - TRAINERS))
def test_the_chart_asks_for_what_was_measured(role: str) -> None:
    _, _, memory, cores, most = MEASURED[role]
    resources = VALUES[KEYS.get(role, role)]["resources"]
    assert resources == {
        "requests": {"cpu": cores, "memory": f"{memory}Mi"},
        "limits": {"cpu": "1", "memory": f"{most}Mi"},
    }


def test_a_trainer_asks_for_what_the_largest_took() -> None:
    largest = max((MEASURED[role] for role in TRAINERS), key=lambda row: int(row[0]))
    assert VALUES["trainers"]["resources"] == {
        "requests": {"cpu": "1", "memory": f"{largest[2]}Mi"},
        "limits": {"cpu": "1", "memory": f"{largest[4]}Mi"},
    }
