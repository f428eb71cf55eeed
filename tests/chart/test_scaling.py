"""Deployments that something scales: their number of replicas is not the chart's, and lag is that of their group."""

from __future__ import annotations

from typing import Any

import pytest
from tests.deploy.test_monitored import OPEN_REQUESTS
from tests.support.charts import API, SCALERS, Helm, Manifest, environment, named

from flts.runner.services.registry import groups

SCALED = {
    "gateway": ("flts-gateway", "HorizontalPodAutoscaler"),
    "serve": ("flts-serve", "HorizontalPodAutoscaler"),
    "trainers": ("flts-train-gru", "ScaledObject"),
    "evaluate": ("flts-evaluate", "ScaledObject"),
    "forecast": ("flts-forecast", "ScaledObject"),
}
"""For each component a Deployment and what scales it."""


DEPLOYED = ("--set", "trainers.autoscaling.kind=ScaledObject")
"""Trainers as Deployments, which they are not by default where something scales them."""


def scalers(objects: list[Manifest]) -> dict[str, Manifest]:
    """What scales, by the Deployment that it names."""
    return {one["spec"]["scaleTargetRef"]["name"]: one for one in objects if one["kind"] in SCALERS}


@pytest.mark.parametrize("component", SCALED)
def test_what_is_scaled_has_no_number_of_replicas_and_all_else_has_one(helm: Helm, component: str) -> None:
    name, kind = SCALED[component]
    for on in (False, True):
        switch = f"{component}.autoscaling.enabled={str(on).lower()},{component}.replicas=3"
        objects = helm.render("--set", switch, *DEPLOYED)
        found = scalers(objects)
        assert (name in found) is on
        assert {one["kind"] for one in found.values()} <= {kind}
        for one in objects:
            if one["kind"] == "Deployment":
                assert ("replicas" in one["spec"]) is (one["metadata"]["name"] not in found), one["metadata"]["name"]
        if not on:
            assert named(objects, "Deployment", name)["spec"]["replicas"] == 3


def test_a_worker_is_scaled_by_the_lag_of_its_own_group(helm: Helm) -> None:
    on = ",".join(f"{name}.autoscaling.enabled=true" for name in ("trainers", "evaluate", "forecast"))
    objects = helm.render("--set", f"{on},spec.models.ridge.alphas={{1}},spec.models.gru.epochs=2", *DEPLOYED)
    found = scalers(objects)
    assert len(found) == 4
    read: dict[str, Any] = {}
    for name, one in found.items():
        [trigger] = one["spec"]["triggers"]
        assert trigger["type"] == "kafka"
        # by the name that the broker tells its clients, and that KEDA finds from its own namespace
        [broker] = named(objects, "StatefulSet", "flts-kafka")["spec"]["template"]["spec"]["containers"]
        told = environment(broker)["KAFKA_ADVERTISED_LISTENERS"]
        assert (
            told
            == f"PLAINTEXT://{trigger['metadata']['bootstrapServers']}"
            == "PLAINTEXT://flts-kafka.forecasts.svc:9092"
        )
        assert all(isinstance(value, str) for value in trigger["metadata"].values()), "KEDA reads text"
        assert "authenticationRef" not in trigger
        read[name.removeprefix("flts-")] = (trigger["metadata"]["consumerGroup"], trigger["metadata"]["topic"])
    groups_of_a_run = list(groups(["gru", "ridge"]))
    assert read == {group.name: (group.name, group.service.load().topic) for group in groups_of_a_run}


def test_a_scaler_logs_in_as_the_brokers_ask_and_may_reach_the_bundled_one(helm: Helm) -> None:
    keda = '[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"keda"}}}]'
    objects = helm.render(
        *API,
        *("--set", "trainers.autoscaling.enabled=true,trainers.autoscaling.authentication=brokers"),
        *DEPLOYED,
        *("--set-json", f"networkPolicy.from.kafka={keda}"),
    )
    assert {one["spec"]["triggers"][0]["authenticationRef"]["name"] for one in scalers(objects).values()} == {"brokers"}
    [rule] = named(objects, "NetworkPolicy", "flts-kafka-ingress")["spec"]["ingress"]
    assert {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}} in rule["from"]


def test_trainers_are_jobs_that_end_by_themselves_with_the_pod_of_the_deployment_they_replace(helm: Helm) -> None:
    models = "spec.models.ridge.alphas={1},spec.models.gru.epochs=2"
    alone = helm.render("--set", models)
    scaled = helm.render("--set", f"trainers.autoscaling.enabled=true,{models}")
    jobs = {one["metadata"]["name"]: one["spec"] for one in scaled if one["kind"] == "ScaledJob"}
    assert set(jobs) == {"flts-train-gru", "flts-train-ridge"}
    assert not {one["metadata"]["name"] for one in scaled if one["kind"] == "Deployment"} & set(jobs)
    for name, job in jobs.items():
        assert (job["minReplicaCount"], job["rollout"]) == (0, {"strategy": "gradual"})
        pod, before = job["jobTargetRef"]["template"], named(alone, "Deployment", name)["spec"]["template"]
        assert pod["spec"].pop("restartPolicy") == "Never"
        [ours], [theirs] = (one["spec"]["containers"] for one in (pod, before))
        assert environment(ours).items() - environment(theirs).items() == {("FLTS_WORKER_IDLE", "60")}
        assert environment(theirs).items() <= environment(ours).items()
        ours["env"] = theirs["env"]
        assert pod == before
        [trigger] = job["triggers"]
        assert (trigger["type"], trigger["metadata"]["consumerGroup"]) == ("kafka", name.removeprefix("flts-"))
        assert trigger["metadata"]["limitToPartitionsWithLag"] == "true"


def test_the_forecast_service_is_scaled_by_cpu_and_by_what_its_values_name(helm: Helm) -> None:
    def metrics(by: str) -> list[Any]:
        more = f"serve.autoscaling.enabled=true,serve.autoscaling.by={by},serve.autoscaling.prometheus=http://prom:9090"
        scaler = scalers(helm.render("--set", more))["flts-serve"]
        return list(scaler["spec"].get("metrics") or scaler["spec"]["triggers"])

    (cpu,) = metrics("cpu")
    assert cpu["resource"]["name"] == "cpu"
    same, pods = metrics("adapter")
    assert same == cpu
    assert pods["pods"] == {
        "metric": {"name": "flts_serve_open_requests"},
        "target": {"type": "AverageValue", "averageValue": "4"},
    }
    asked, fallback = metrics("keda")
    assert (asked["type"], asked["metadata"]["serverAddress"]) == ("prometheus", "http://prom:9090")
    query = asked["metadata"]["query"]
    assert query.replace('{namespace="forecasts",', "{") == OPEN_REQUESTS
    assert (fallback["type"], fallback["metadata"]) == ("cpu", {"value": "70"})


def test_a_trigger_without_its_prometheus_is_refused(helm: Helm) -> None:
    said = helm.refused("--set", "serve.autoscaling.enabled=true,serve.autoscaling.by=keda")
    assert "serve.autoscaling.prometheus: name the Prometheus that KEDA asks" in said
