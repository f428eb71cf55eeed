"""Names and labels fit, whatever a release is called and whatever names and labels the values add."""

from __future__ import annotations

import re
import warnings

import pytest
import yaml
from tests.support.charts import API, RUN, Helm, Manifest, containers, pods

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import kubernetes_validate

LONG = "a-very-long-name-of-a-release-in-a-large-company-123"
NUMBERS = (
    *("s3.existingSecret=1", "postgresql.existingSecret=2", "gateway.existingSecret=3", "serve.existingSecret=4"),
    *("serve.ingress.className=5", "serve.ingress.tlsSecret=6", "serve.tlsSecret=7"),
    *("caBundle.configMap=8", "caBundle.key=9", "serviceAccountName=10", "trainers.priorityClassName=11"),
    *("kafka.storageClassName=12", "nameOverride=13", "commonLabels.tier=14", "evaluate.podLabels.tier=true"),
)
"""Names that YAML would read as numbers; Kubernetes takes them."""


def released(helm: Helm, name: str, *arguments: str, namespace: str = "forecasts") -> list[Manifest]:
    """The objects of a release of this name."""
    done = helm.call("template", name, ".", "--namespace", namespace, *RUN, *API, *arguments)
    assert done.returncode == 0, done.stderr
    return [one for one in yaml.safe_load_all(done.stdout) if one]


@pytest.mark.parametrize("release", [LONG, "2026.11", "1e5"])
def test_every_name_and_label_is_one_that_kubernetes_takes(helm: Helm, release: str) -> None:
    for one in released(helm, release, "--set", "preprocess.cronJob.enabled=true"):
        kubernetes_validate.validate(one, "1.36", strict=True)
        name = one["metadata"]["name"]
        # what is made from a CronJob or a StatefulSet has a longer name, or label
        assert len(name) <= {"CronJob": 52, "StatefulSet": 52}.get(one["kind"], 63), name
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        for label in one["metadata"]["labels"].values():
            assert re.fullmatch(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?", label)


def test_two_long_names_that_start_alike_have_no_object_in_common(helm: Helm) -> None:
    def names(release: str) -> set[tuple[str, str]]:
        return {(one["kind"], one["metadata"]["name"]) for one in released(helm, release)}

    assert not names(LONG) & names(f"{LONG[:-1]}4")


def test_names_that_look_like_numbers_arrive_as_text(helm: Helm) -> None:
    numbers = [word for name in NUMBERS for word in ("--set-string", name)]
    for one in released(helm, "flts", *numbers, "--set", "serve.ingress.enabled=true", namespace="42"):
        kubernetes_validate.validate(one, "1.36", strict=True)


def test_added_labels_replace_none_by_which_the_chart_finds_its_pods(helm: Helm) -> None:
    def labels(*arguments: str) -> list[tuple[str, dict[str, str]]]:
        objects = released(helm, "flts", *arguments)
        return [(one["metadata"]["name"], one["metadata"]["labels"]) for one in objects] + [
            (one["metadata"]["name"], template["metadata"]["labels"]) for one, template in pods(objects)
        ]

    key = r"app\.kubernetes\.io/component"
    added = labels("--set", f"commonLabels.{key}=mine,commonLabels.team=a,evaluate.podLabels.{key}=mine")
    assert all(found.get("team", "a") == "a" for _, found in added)
    assert [(name, {k: v for k, v in found.items() if k != "team"}) for name, found in added] == labels()


@pytest.mark.parametrize(
    ("key", "value"),
    [("nameOverride", "My_Name"), ("fullnameOverride", "a.b"), ("podSecurity.uid", "0"), ("listen", "localhost")],
)
def test_a_value_that_no_cluster_takes_is_refused_before_one_is_asked(helm: Helm, key: str, value: str) -> None:
    assert key.replace(".", "/") in helm.refused("--set", f"{key}={value}").replace(".", "/")


def test_where_the_cluster_numbers_its_pods_none_names_a_user(helm: Helm) -> None:
    for one, template in pods(released(helm, "flts", "--set", "podSecurity.uid=null")):
        security = template["spec"]["securityContext"]
        assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(security), one["metadata"]["name"]
        assert security["runAsNonRoot"] is True
        assert not any("runAsUser" in each["securityContext"] for each in containers(template))


def test_every_server_listens_where_it_is_told(helm: Helm) -> None:
    """Kafka and PostgreSQL listen on the addresses of both families by themselves."""
    said: dict[str, set[str]] = {}
    for one, template in pods(released(helm, "flts", "--set", "listen=::")):
        for container in containers(template):
            words = [word.partition("=") for word in container.get("args", [])]
            options = {name: value for name, _, value in words if name in {"--host", "-s3.ip.bind"}}
            named = {each["name"]: each.get("value") for each in container["env"]}
            hosts = {name: named[name] for name in ("FLTS_HOST", "FLTS_PROBE_HOST") if name in named}
            said[one["metadata"]["name"]] = {*options.values(), *hosts.values()}
            assert "0.0.0.0" not in str(container)  # noqa: S104 - looked for, not bound
    assert said["flts-s3"] == said["flts-mlflow"] == said["flts-serve"] == said["flts-gateway"] == {"::"}


def test_mlflow_answers_to_the_host_that_its_probes_name(helm: Helm) -> None:
    [mlflow] = [
        one for one in released(helm, "flts") if one["metadata"]["name"] == "flts-mlflow" and "template" in one["spec"]
    ]
    [container] = mlflow["spec"]["template"]["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        [header] = container[probe]["httpGet"]["httpHeaders"]
        assert header["name"] == "Host"
        assert header["value"].partition(":")[0] + ":*" in container["args"][-1].partition("=")[2].split(",")
