"""The chart and compose.yaml run the same roles, with the same commands and the same variables.

What differs is named below with its reason, and a name that no longer differs fails the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from tests.deploy.test_compose import SERVICE
from tests.support.charts import Helm, Manifest, pods

NAMES = {"postgres": "postgresql"}
"""Services of compose.yaml whose role has another name in the chart."""
COMPOSE_ALONE = {"balancer", "prometheus", "grafana", "locust"}
"""In a cluster, a Service balances, and monitoring and load tests are those of the cluster."""
CHART_ALONE = {"test"}
"""`helm test`."""
FLTS_MORE = {
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),  # of a Secret, where compose.yaml has a file
    *("FLTS_HOST", "FLTS_TOKEN_FILE"),  # options of the commands of compose.yaml
    *("HOME", "FLTS_HOME", "FLTS_PROBE_PORT", "FLTS_KAFKA_PARTITIONS"),  # the defaults of the image and of FLTS, said
    "FLTS_NODE",  # of the pod
    *("FLTS_GRACE", "FLTS_DRAIN_SECONDS", "FLTS_TRAIN_TIMEOUT", "FLTS_JOBS"),  # values of the chart
    *("FLTS_LOG_FORMAT", "OMP_NUM_THREADS"),  # of the one-shot service that has no environment
}
"""Variables that some role of FLTS has in the chart alone."""
FLTS_LESS = {
    "AWS_SHARED_CREDENTIALS_FILE",
    "FLTS_CONTAINER_IMAGE",  # the file of the release names the image
    "FLTS_SPOOL_DIR",  # a disk of its own, where a pod has its home
    *("FLTS_BUS", "FLTS_KAFKA_REPLICATION", "FLTS_MLFLOW_URI"),  # a pod is told of what it may reach, and no more
}
"""Variables that some role of FLTS has in compose.yaml alone."""
OF_A_PLACE = {"FLTS_ENVIRONMENT", "FLTS_DRAIN_SECONDS", "FLTS_TRACKING"}
"""Variables of both with values of their own: the last is `off` for a pod that may not reach MLflow."""
SERVERS: Mapping[str, tuple[set[str], set[str]]] = {
    "kafka": (set(), {"KAFKA_HEAP_OPTS"}),
    "postgresql": (set(), {"PGDATA"}),
    "s3": (set(), {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HOME"}),
    "mlflow": (
        {"AWS_REGION", "AWS_SHARED_CREDENTIALS_FILE", "PGPASSFILE"},
        {
            *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "POSTGRES_PASSWORD"),
            "HOME",
        },
    ),
}
"""Of each server, the variables of compose.yaml alone and of the chart alone."""


@pytest.fixture(scope="module")
def roles(helm: Helm) -> dict[str, Manifest]:
    """The container of each role of the chart; a trainer by its model."""
    found = {}
    for _, template in pods(helm.render("--values", "values-dev.yaml")):
        labels = template["metadata"]["labels"]
        role = labels["app.kubernetes.io/component"]
        found[f"train-{labels['flts/model']}" if role == "train" else role] = template["spec"]["containers"][0]
    return found


@pytest.fixture(scope="module")
def composed() -> dict[str, dict[str, Any]]:
    """The services of compose.yaml by the name of their role in the chart."""
    return {NAMES.get(name, name): one for name, one in SERVICE.items() if name not in COMPOSE_ALONE}


def variables(container: Manifest) -> dict[str, str | None]:
    """Of a container of the chart, with the names of compose.yaml for what it speaks to."""
    return {one["name"]: _there(one.get("value")) for one in container.get("env", [])}


def _there(value: str | None) -> str | None:
    return value and value.replace("flts-postgresql", "postgres").replace("flts-", "")


def test_they_have_the_same_roles(roles: dict[str, Manifest], composed: dict[str, dict[str, Any]]) -> None:
    assert set(roles) - CHART_ALONE == set(composed)
    assert set(SERVICE) >= COMPOSE_ALONE


def test_roles_of_flts_are_told_the_same(roles: dict[str, Manifest], composed: dict[str, dict[str, Any]]) -> None:
    more, less = set[str](), set[str]()
    for role in sorted(set(composed) - set(SERVERS)):
        chart, compose = variables(roles[role]), composed[role].get("environment", {})
        more |= set(chart) - set(compose)
        less |= set(compose) - set(chart)
        same = set(chart) & set(compose) - OF_A_PLACE
        assert (chart.get("FLTS_TRACKING") == "mlflow") is ("FLTS_MLFLOW_URI" in chart), role
        assert {name: chart[name] for name in same} == {name: compose[name] for name in same}, role
    assert more == FLTS_MORE
    assert less == FLTS_LESS


@pytest.mark.parametrize("server", SERVERS)
def test_servers_are_told_the_same(
    roles: dict[str, Manifest], composed: dict[str, dict[str, Any]], server: str
) -> None:
    chart, compose = variables(roles[server]), composed[server].get("environment", {})
    assert (set(compose) - set(chart), set(chart) - set(compose)) == SERVERS[server]


def test_roles_of_flts_run_the_same_commands(roles: dict[str, Manifest], composed: dict[str, dict[str, Any]]) -> None:
    for role in set(composed) - {*SERVERS, "secrets"}:  # where secrets are made is what differs most
        chart, compose = list(roles[role]["args"]), list(composed[role]["command"])
        for options in (["--host", "0.0.0.0"], ["--token-file", "/run/flts/token"]):  # noqa: S104 - of a container
            if options[0] in compose:
                at = compose.index(options[0])
                assert compose[at : at + 2] == options
                del compose[at : at + 2]
        if role == "prepare":
            at = chart.index("--timeout")  # compose.yaml starts it when its servers are well
            del chart[at : at + 2]
        assert chart == compose, role


@pytest.mark.parametrize(
    ("server", "words", "place"),
    [("s3", "command", {"-s3.config"}), ("mlflow", "entrypoint", {"--allowed-hosts"})],
)
def test_servers_have_the_same_options(
    roles: dict[str, Manifest], composed: dict[str, dict[str, Any]], server: str, words: str, place: set[str]
) -> None:
    def options(given: list[str]) -> set[str]:
        return {word for word in given if word.partition("=")[0] not in place}

    chart = [*roles[server].get("command", []), *roles[server]["args"]]
    assert options(chart) - {"weed"} == options(composed[server][words])
