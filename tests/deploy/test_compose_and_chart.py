"""compose.yaml and the chart start the same roles with the same settings."""

from __future__ import annotations

import pytest
from tests.deploy.test_compose import SERVICE
from tests.support.charts import Manifest, containers, environment, found, pods

pytestmark = pytest.mark.slow
CLUSTERS_OWN = {"balancer", "grafana", "locust", "prometheus"}
"""What a cluster has already: Services, and what watches and loads them."""
NAMES = {"postgres": "postgresql"}
HERE_ONLY = {
    "FLTS_BUS",  # of the gateway and MLflow of jobs: compose gives all of them one table of settings
    "FLTS_KAFKA_REPLICATION",
    "FLTS_MLFLOW_URI",
    "FLTS_SPOOL_DIR",  # a volume that replicas share
    "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS",
}


@pytest.fixture(scope="module")
def chart() -> dict[str, set[str]]:
    """The variables of every role, by its name in compose.yaml."""
    roles: dict[str, set[str]] = {}
    for owner, template in pods(found().render("--values", "values-dev.yaml")):
        roles.setdefault(_role(owner), set()).update(environment(containers(template)[-1]))
    return roles


def _role(owner: Manifest) -> str:
    """train-gru of flts-train-gru, preprocess of flts-preprocess-0123456789."""
    component: str = owner["metadata"]["labels"]["app.kubernetes.io/component"]
    return owner["metadata"]["name"].removeprefix("flts-") if component == "train" else component


def test_they_have_the_same_roles(chart: dict[str, set[str]]) -> None:
    assert {NAMES.get(name, name) for name in SERVICE.keys() - CLUSTERS_OWN} == chart.keys()


def test_what_compose_sets_the_chart_sets(chart: dict[str, set[str]]) -> None:
    ours = ("FLTS_", "KAFKA_", "MLFLOW_")
    for name in SERVICE.keys() - CLUSTERS_OWN:
        variables = {key for key in SERVICE[name].get("environment", {}) if key.startswith(ours)}
        assert variables - chart[NAMES.get(name, name)] <= HERE_ONLY, name
