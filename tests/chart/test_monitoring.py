"""What the chart gives to Prometheus and Grafana is what compose.yaml gives to them."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from typing import Any

import pytest
import yaml
from tests.support import ROOT
from tests.support.charts import RUN, Helm, Manifest, named, pods

ON = (*RUN, "--set", "monitoring.enabled=true")
FOLDER = ROOT / "deploy/monitoring"
NAMED = {"app.kubernetes.io/name", "app.kubernetes.io/instance"}


@pytest.fixture(scope="module")
def objects(helm: Helm) -> list[Manifest]:
    """Everything, with monitoring."""
    return helm.render(*ON, "--set", "monitoring.labels.release=prometheus")


def test_every_process_with_a_probe_port_is_scraped_ready_or_not(objects: list[Manifest]) -> None:
    service = named(objects, "Service", "flts-metrics")["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)
    assert set(service["selector"]) == NAMED
    (port,) = service["ports"]
    probed = {
        template["metadata"]["labels"]["app.kubernetes.io/component"]
        for owner, template in pods(objects)
        if owner["kind"] == "Deployment"
        and service["selector"].items() <= template["metadata"]["labels"].items()
        and any(one.get("name") == port["targetPort"] for c in template["spec"]["containers"] for one in c["ports"])
    }
    assert probed == {"train", "evaluate", "forecast", "serve"}


@pytest.mark.parametrize(("name", "job"), [("metrics", "flts"), ("gateway", "flts-gateway")])
def test_a_service_monitor_selects_its_service_and_names_jobs_as_the_rules_do(
    objects: list[Manifest], name: str, job: str
) -> None:
    monitor, service = named(objects, "ServiceMonitor", f"flts-{name}"), named(objects, "Service", f"flts-{name}")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    matching = [
        one["metadata"]["name"]
        for one in objects
        if one["kind"] == "Service"
        and monitor["spec"]["selector"]["matchLabels"].items() <= one["metadata"]["labels"].items()
    ]
    assert matching == [f"flts-{name}"]
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert {"targetLabel": "job", "replacement": job} in endpoint["relabelings"]


def test_a_gateway_with_tls_is_asked_with_tls(helm: Helm) -> None:
    (endpoint,) = named(helm.render(*ON, "--set", "gateway.tlsSecret=tls"), "ServiceMonitor", "flts-gateway")["spec"][
        "endpoints"
    ]
    assert endpoint["scheme"] == "https"


def rules(of: Any) -> list[Manifest]:
    return [rule for group in of["groups"] for rule in group["rules"]]


def test_the_rules_are_those_of_the_file(objects: list[Manifest]) -> None:
    rendered = named(objects, "PrometheusRule", "flts-alerts")
    assert rendered["metadata"]["labels"]["release"] == "prometheus"
    found = deepcopy(rendered["spec"])
    for group in found["groups"]:
        for rule in group["rules"]:
            plain = re.sub(r'namespace="forecasts",', "", rule["expr"])
            rule["expr"] = plain.replace("{}", "")
    assert found == yaml.safe_load((FOLDER / "rules.yml").read_text())


def test_an_absent_series_is_looked_for_in_the_namespace_of_the_release(objects: list[Manifest]) -> None:
    found = rules(named(objects, "PrometheusRule", "flts-alerts")["spec"])
    asked = [one for rule in found for one in re.findall(r"absent\(.*?\)", rule["expr"])]
    assert len(asked) == 22
    assert all('{namespace="forecasts",' in one for one in asked)
    assert 'absent(up{namespace="forecasts",job=~"flts|flts-gateway"})' in asked


@pytest.mark.parametrize(
    ("without", "left", "alerts"),
    [
        ("serve", {"candidates_total", "dead_letters", "run_open_seconds"}, {"FltsSeriesAbsent"}),
        ("evaluate", {"serve_stale", "serve_live_skill"}, {"FltsSeriesAbsent", "FltsLiveErrorAbsent"}),
    ],
)
def test_no_series_is_missed_of_a_service_that_the_release_does_not_have(
    helm: Helm, without: str, left: set[str], alerts: set[str]
) -> None:
    rendered = named(helm.render(*ON, "--set", f"{without}.enabled=false"), "PrometheusRule", "flts-alerts")
    absent = [rule for rule in rules(rendered["spec"]) if "absent(" in rule["expr"]]
    assert {rule["alert"] for rule in absent} == alerts
    asked = set(re.findall(r"absent\(flts_([a-z_]+)", " ".join(rule["expr"] for rule in absent)))
    assert asked >= {"lag", "ready", *left}
    assert not [name for name in asked if (name.startswith("serve_") if without == "serve" else name == "dead_letters")]


def test_an_alert_can_be_left_out_and_its_runbook_found(helm: Helm) -> None:
    base = "https://wiki.example/flts/"
    changed = ("--set", f"monitoring.without={{FltsModelOld,FltsLiveErrorAbsent}},monitoring.runbooks={base}")
    found = rules(named(helm.render(*ON, *changed), "PrometheusRule", "flts-alerts")["spec"])
    every = rules(yaml.safe_load((FOLDER / "rules.yml").read_text()))
    missing = {rule.get("alert") for rule in every} - {rule.get("alert") for rule in found}
    assert missing == {"FltsModelOld", "FltsLiveErrorAbsent"}
    links = {rule["annotations"]["runbook_url"] for rule in found if "alert" in rule}
    assert all(link.startswith(f"{base}docs/operations.md#flts") for link in links)
    said = helm.refused(*ON, "--set", "monitoring.without={FltsModelOlder}")
    assert "monitoring.without: there is no alert FltsModelOlder; valid: FltsLatencyBurnsFast, " in said


@pytest.mark.parametrize("name", ["evaluation", "pipeline", "serving"])
def test_a_dashboard_is_that_of_the_file_and_found_by_its_label(objects: list[Manifest], name: str) -> None:
    config = named(objects, "ConfigMap", f"flts-dashboard-{name}")
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(config["data"][f"flts-{name}.json"]) == json.loads(
        (FOLDER / f"dashboards/{name}.json").read_text()
    )
