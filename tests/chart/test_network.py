"""Network policies: nothing but the edges of the data flow."""

from __future__ import annotations

import pytest
from tests.support.charts import API, RUN, Helm, Manifest, named, pods

EDGES = {
    ("prepare", "kafka"),
    ("prepare", "s3"),
    ("preprocess", "kafka"),
    ("preprocess", "s3"),
    ("train", "kafka"),
    ("train", "s3"),
    ("train", "mlflow"),
    ("evaluate", "kafka"),
    ("evaluate", "s3"),
    ("evaluate", "mlflow"),
    ("forecast", "kafka"),
    ("forecast", "s3"),
    ("gateway", "s3"),
    ("serve", "kafka"),
    ("serve", "s3"),
    ("test", "kafka"),
    ("test", "s3"),
    ("test", "serve"),
    ("mlflow", "postgresql"),
    ("mlflow", "s3"),
}


def component(selector: Manifest) -> str:
    name: str = selector["matchLabels"]["app.kubernetes.io/component"]
    return name


def policies(objects: list[Manifest], direction: str) -> list[Manifest]:
    found = [one["spec"] for one in objects if one["kind"] == "NetworkPolicy"]
    return [spec for spec in found if spec["policyTypes"] == [direction]]


@pytest.fixture(scope="module")
def objects(helm: Helm) -> list[Manifest]:
    """The chart with network policies."""
    return helm.render(*RUN, *API)


def test_everything_is_denied_first(objects: list[Manifest]) -> None:
    deny = named(objects, "NetworkPolicy", "flts-default-deny")["spec"]
    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in deny
    assert "egress" not in deny
    for _, template in pods(objects):
        assert deny["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()


def test_pods_reach_what_the_data_flow_needs(objects: list[Manifest]) -> None:
    reached = {
        (component(spec["podSelector"]), component(peer["podSelector"]))
        for spec in policies(objects, "Egress")
        for rule in spec["egress"]
        for peer in rule.get("to", [])
        if "podSelector" in peer
    }
    assert reached == EDGES


def test_servers_are_reached_by_the_same_pods(objects: list[Manifest]) -> None:
    let_in = {
        (component(peer["podSelector"]), component(spec["podSelector"]))
        for spec in policies(objects, "Ingress")
        for rule in spec["ingress"]
        for peer in rule.get("from", [])
    }
    assert let_in == EDGES - {("test", "serve")}, "anybody may ask the forecast service unless values name who"


def test_a_rule_names_the_port_of_its_server(objects: list[Manifest]) -> None:
    ports = {
        one["spec"]["selector"]["app.kubernetes.io/component"]: one["spec"]["ports"][0]["port"]
        for one in objects
        if one["kind"] == "Service"
    }
    for spec in policies(objects, "Egress"):
        for rule in spec["egress"]:
            for peer in rule.get("to", []):
                if "podSelector" in peer:
                    assert rule["ports"] == [{"port": ports[component(peer["podSelector"])], "protocol": "TCP"}]


def test_a_pod_uses_only_servers_that_it_may_reach(objects: list[Manifest]) -> None:
    for one, template in pods(objects):
        source = one["metadata"]["labels"]["app.kubernetes.io/component"]
        text = str(template["spec"])
        for server, port in (("kafka", 9092), ("s3", 8333), ("mlflow", 5000), ("postgresql", 5432)):
            if f"flts-{server}:{port}" in text and source != server:
                assert (source, server) in EDGES


def test_only_the_job_of_the_secrets_reaches_the_api_server(helm: Helm, objects: list[Manifest]) -> None:
    blocks = [
        (component(spec["podSelector"]), peer["ipBlock"]["cidr"])
        for spec in policies(objects, "Egress")
        for rule in spec["egress"]
        for peer in rule.get("to", [])
        if "ipBlock" in peer
    ]
    assert blocks == [("secrets", "10.0.0.1/32")]
    assert "name the address of the API server" in helm.refused("--set", "networkPolicy.enabled=true")


def test_external_backends_and_dns_are_those_of_the_values(helm: Helm) -> None:
    objects = helm.render(
        "--values", "values-prod.yaml", "--set-json", 'networkPolicy.dns=[{"ipBlock":{"cidr":"1.2.3.4/32"}}]'
    )
    spec = named(objects, "NetworkPolicy", "flts-train-egress")["spec"]
    reached = [rule["to"][0]["ipBlock"]["cidr"] for rule in spec["egress"]]
    assert sorted(reached) == ["1.2.3.4/32", "10.10.0.0/16", "10.20.0.0/16", "10.30.0.0/16"]
