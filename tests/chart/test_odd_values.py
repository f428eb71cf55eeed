"""Values as people write them: left empty, out of range, in quotes, or of a parent chart."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.charts import API, CHART, Helm, environment, named, pods

from flts.spec.installed import LONGEST

EMPTY: tuple[Any, ...] = ("", [], {})
DIGEST = "sha256:" + "0" * 64
MUCH = {
    **dict.fromkeys(("monitoring.enabled", "load.enabled", "preprocess.cronJob.enabled"), "true"),
    **dict.fromkeys(("networkPolicy.enabled", "trainers.autoscaling.enabled", "serve.autoscaling.enabled"), "true"),
    **dict.fromkeys(("kafka.enabled", "s3.enabled", "postgresql.enabled"), "false"),
    "kafka.external.brokers": "kafka:9092",
    "s3.existingSecret": "keys",
    "postgresql.external.existingSecret": "database",
    "networkPolicy.apiServer.cidrs": "{10.0.0.1/32}",
    "preprocess.datasetName": "load",
    "spec.dataset.targets": "{load}",
    "serve.ingress.enabled": "true",
}
"""Much of what is off by default."""
PARENT = {
    "global": {"imageRegistry": "unused"},
    "fltsOne": {"enabled": True, "spec": {"sample": {"train_rows": 1_000_000}}},
    "flts_two": {"enabled": False},
}


def leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key with its default; a table only where it is empty."""
    for name, value in values.items():
        below = f"{path}.{name}" if path else name
        if isinstance(value, dict) and value:
            yield from leaves(value, below)
        else:
            yield below, value


DEFAULTS = dict(leaves(yaml.safe_load((CHART / "values.yaml").read_text())))


@pytest.mark.parametrize("given", [{}, MUCH], ids=["bundled", "much"])
def test_a_key_that_is_empty_stays_empty_when_its_line_says_nothing(helm: Helm, given: Mapping[str, str]) -> None:
    """`nodeSelector:` above lines that are all comments is null."""
    some = ("--set", ",".join(f"{key}={value}" for key, value in given.items()))
    nothing = ",".join(f"{key}=null" for key, value in DEFAULTS.items() if value in EMPTY and key not in given)
    assert helm.text("--set", nothing, *some) == helm.text(*some)


@pytest.mark.parametrize(
    "key", ["trainers.replicas", "image.repository", "serve.graceSeconds", "s3.resources", "listen"]
)
def test_a_default_that_is_taken_away_is_missed(helm: Helm, key: str) -> None:
    # without it, the object would be rendered with 0 or with nothing
    name = key.rpartition(".")[2]
    assert re.search(rf"missing propert.*'{name}'|{name} is required", helm.refused("--set", f"{key}=null"))


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("kafka.partitions=0", "partitions"),
        ("serve.service.port=70000", "port"),
        ("trainers.trainTimeoutSeconds=0", "trainTimeoutSeconds"),
        ("load.podSecurity.uid=0", "uid"),
        ("image.repository=flts:latest", "repository"),
        ("s3.external.endpoint=s3.example", "endpoint"),
        ("mlflow.external.uri=mlflow.example", "uri"),
        ("kafka.external.brokers=kafka://kafka:9092", "brokers"),
        ("kafka.external.options.sasl\\.password=secret", "sasl.password"),
        ("kafka.external.options.group\\.id=mine", "group.id"),
        ("spec.models.my-own.x=1", "my-own"),
        (f"spec.models.{'x' * (LONGEST + 1)}.x=1", "x" * (LONGEST + 1)),
        ("serve.autoscaling.enabled=true,serve.autoscaling.minReplicas=0", "minReplicas"),
        ("serve.autoscaling.enabled=true,serve.autoscaling.minReplicas=9", "serve: autoscaling.minReplicas is 9"),
        ("evaluate.autoscaling.enabled=true,evaluate.autoscaling.minReplicas=9", "evaluate: autoscaling.minReplicas"),
        ("trainers.autoscaling.enabled=true,trainers.autoscaling.minReplicas=9", "autoscaling.minReplicas is 9"),
        ("extraEnv[0].name=FLTS_STORE,extraEnv[0].value=x", "extraEnv: FLTS_STORE would be there twice"),
    ],
)
def test_what_no_cluster_or_no_pod_takes_is_refused_by_name(helm: Helm, sets: str, said: str) -> None:
    assert said in helm.refused("--set", sets)


@pytest.mark.parametrize("part", ["kafka", "s3", "postgresql", "load"])
def test_images_of_others_have_a_version_too(helm: Helm, part: str) -> None:
    for image in ("here:5000/it", "here:5000/it:latest"):
        said = helm.refused("--set", f"load.enabled=true,{part}.image={image}")
        assert f"{part}.image: {image} names another image every day" in said
    for image in ("here:5000/it:1.2", f"here:5000/it@{DIGEST}"):
        assert f"image: {image}\n" in helm.text("--set", f"load.enabled=true,{part}.image={image}")


@pytest.mark.parametrize(("text", "threads"), [("08", "8"), ("010", "10"), ("2.0", "2"), ("+2", "2")])
def test_threads_in_quotes_are_those_that_the_experiment_reads(helm: Helm, text: str, threads: str) -> None:
    objects = helm.render("--set-string", f"spec.run.threads={text}", "--set", "trainers.resources.limits.cpu=16")
    [container] = named(objects, "Deployment", "flts-train-ridge")["spec"]["template"]["spec"]["containers"]
    assert environment(container)["OMP_NUM_THREADS"] == threads


def test_a_large_number_outside_the_experiment_arrives_exact_too(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("podDisruptionBudget: {maxUnavailable: 1000000}\nserve: {replicas: 1000000}\n")
    assert "maxUnavailable: 1000000\n" in helm.text("--values", str(file))
    file.write_text("podDisruptionBudget: {maxUnavailable: 50%}\nserve: {replicas: 2}\n")
    assert 'maxUnavailable: "50%"\n' in helm.text("--values", str(file))


def test_it_works_as_two_charts_of_a_parent_under_any_alias(helm: Helm, tmp_path: Path) -> None:
    shutil.copytree(CHART, tmp_path / "charts/flts")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    parts = [
        {"name": "flts", "version": version, "alias": alias, "condition": f"{alias}.enabled"}
        for alias in ("fltsOne", "flts_two")
    ]
    chart = {"apiVersion": "v2", "name": "parent", "version": "1.0.0", "dependencies": parts}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (tmp_path / "values.yaml").write_text(yaml.safe_dump(PARENT))

    def rendered(*arguments: str) -> list[Mapping[str, Any]]:
        done = helm.call("template", "all", str(tmp_path), *arguments)
        assert done.returncode == 0, done.stderr
        return [one for one in yaml.safe_load_all(done.stdout) if one]

    one = rendered()
    assert {each["metadata"]["name"].rpartition("all-fltsone-")[0] for each in one} == {""}
    assert "sample.train_rows = 1000000\n" in named(one, "ConfigMap", "all-fltsone-config")["data"]["flts.toml"]
    both = rendered("--set", "flts_two.enabled=true")
    names = [(each["kind"], each["metadata"]["name"]) for each in both]
    assert len(set(names)) == len(names) == 2 * len(one)
    selected = [
        tuple(sorted(each["spec"]["selector"]["matchLabels"].items()))
        for each, _ in pods(both)
        if each["kind"] in {"Deployment", "StatefulSet"}
    ]
    assert len(set(selected)) == len(selected)


def test_prometheus_reads_the_gateway_where_few_may_ask_it(helm: Helm) -> None:
    """The gateway has one port, for its metrics, too."""
    peers = {name: [{"podSelector": {"matchLabels": {"app": name}}}] for name in ("gateway", "metrics")}
    values = [f"networkPolicy.from.{name}={json.dumps(peer)}" for name, peer in peers.items()]
    objects = helm.render(*API, *(word for value in values for word in ("--set-json", value)))
    [rule] = named(objects, "NetworkPolicy", "flts-gateway-ingress")["spec"]["ingress"]
    assert rule["from"] == [*peers["gateway"], *peers["metrics"]]
