"""Every switch, both ways: what it renders and what it leaves out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from tests.support.charts import API, CHART, RUN, Helm, kinds, named, pods

EXTERNAL = {
    "kafka.enabled": "kafka.external.brokers=kafka:9092",
    "s3.enabled": "s3.existingSecret=keys",
    "postgresql.enabled": "postgresql.external.existingSecret=database",
    "secrets.create": "s3.existingSecret=a,postgresql.existingSecret=b,gateway.existingSecret=c,serve.existingSecret=d",
}
"""What must be named where a part is switched off."""
SWITCHES = {
    "preprocess.enabled": {("Job", "preprocess")},
    "preprocess.cronJob.enabled": {("CronJob", "preprocess")},
    "prepare.enabled": {("Job", "prepare")},
    "trainers.enabled": {("Deployment", "train"), ("Pod", "test")},
    "trainers.autoscaling.enabled": {("ScaledObject", "train")},
    "evaluate.enabled": {("Deployment", "evaluate"), ("Pod", "test")},
    "evaluate.autoscaling.enabled": {("ScaledObject", "evaluate")},
    "forecast.enabled": {("Deployment", "forecast")},
    "forecast.autoscaling.enabled": {("ScaledObject", "forecast")},
    "test.enabled": {("Pod", "test")},
    "gateway.enabled": {("Deployment", "gateway"), ("Service", "gateway")},
    "gateway.autoscaling.enabled": {("HorizontalPodAutoscaler", "gateway")},
    "serve.enabled": {("Deployment", "serve"), ("Service", "serve")},
    "serve.autoscaling.enabled": {("HorizontalPodAutoscaler", "serve")},
    "serve.ingress.enabled": {("Ingress", "serve")},
    "kafka.enabled": {("StatefulSet", "kafka"), ("Service", "kafka")},
    "s3.enabled": {("StatefulSet", "s3"), ("Service", "s3")},
    "postgresql.enabled": {("StatefulSet", "postgresql"), ("Service", "postgresql")},
    "mlflow.enabled": {("Deployment", "mlflow"), ("Service", "mlflow")},
    "load.enabled": {("Job", "load"), ("ConfigMap", "load")},
    "monitoring.enabled": {("ServiceMonitor", "metrics"), ("PrometheusRule", "metrics"), ("ConfigMap", "metrics")},
    "networkPolicy.enabled": {("NetworkPolicy", "network")},
    "podDisruptionBudget.enabled": {("PodDisruptionBudget", "train")},
    "secrets.create": {
        *(("Job", "secrets"), ("Role", "secrets"), ("RoleBinding", "secrets"), ("ServiceAccount", "secrets")),
    },
}
ALWAYS = (
    *RUN,
    *API,
    "--set",
    "networkPolicy.enabled=false",
    "--set",
    "trainers.replicas=2,trainers.autoscaling.minReplicas=2,trainers.autoscaling.kind=ScaledObject",
)


def switches(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for key, value in values.items():
        below = f"{path}.{key}" if path else key
        if isinstance(value, dict):
            yield from switches(value, below)
        elif key in {"enabled", "create"}:
            yield below


def test_the_list_of_switches_is_complete() -> None:
    assert set(switches(yaml.safe_load((CHART / "values.yaml").read_text()))) == set(SWITCHES)


@pytest.mark.parametrize("switch", SWITCHES)
def test_a_switch_switches(helm: Helm, switch: str) -> None:
    on = kinds(helm.render(*ALWAYS, "--set", f"{switch}=true"))
    named_instead = ("--set", EXTERNAL[switch]) if switch in EXTERNAL else ()
    off = kinds(helm.render(*ALWAYS, *named_instead, "--set", f"{switch}=false"))
    assert SWITCHES[switch] <= on
    assert not SWITCHES[switch] & off
    assert off < on


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        ("kafka.enabled=false", "kafka.external.brokers"),
        ("s3.enabled=false", "s3.existingSecret"),
        ("postgresql.enabled=false", "postgresql.external.existingSecret"),
        ("secrets.create=false", "name a Secret, or set secrets.create to true"),
    ],
)
def test_a_backend_that_nobody_names_is_refused(helm: Helm, sets: str, said: str) -> None:
    assert said in helm.refused("--set", sets)


def test_without_mlflow_runs_are_not_tracked_and_no_database_is_there(helm: Helm) -> None:
    objects = helm.render("--set", "mlflow.enabled=false")
    assert not [kind for kind in kinds(objects) if kind[1] in {"mlflow", "postgresql"}]
    variables = named(objects, "Deployment", "flts-train-gru")["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "FLTS_TRACKING", "value": "off"} in variables


def test_external_backends_are_what_the_pods_are_told(helm: Helm) -> None:
    objects = helm.render("--values", "values-prod.yaml")
    pod = named(objects, "Deployment", "flts-train-gru")["spec"]["template"]["spec"]
    variables = {one["name"]: one.get("value", one.get("valueFrom")) for one in pod["containers"][0]["env"]}
    assert variables["FLTS_BUS"] == "kafka://kafka-bootstrap.kafka:9093"
    assert variables["FLTS_S3_ENDPOINT"] == "https://s3.example"
    assert variables["FLTS_MLFLOW_URI"] == "https://mlflow.example"
    assert yaml.safe_load(variables["FLTS_KAFKA_OPTIONS"]) == {
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "flts",
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": "/etc/flts-kafka-ca/ca.crt",
    }
    assert variables["FLTS_KAFKA_PASSWORD_FILE"].rpartition("/")[0] == "/etc/flts-kafka"
    assert variables["AWS_ACCESS_KEY_ID"] == {"secretKeyRef": {"name": "flts-s3", "key": "s3-access-key"}}
    mounted = {one["name"]: one["mountPath"] for one in pod["containers"][0]["volumeMounts"]}
    volumes = {one["name"]: one for one in pod["volumes"]}
    assert mounted["kafka"] == "/etc/flts-kafka"
    assert volumes["kafka"]["secret"]["secretName"] == "flts-kafka"
    assert not [kind for kind in kinds(objects) if kind[0] == "StatefulSet"]


def test_a_role_of_the_cloud_needs_no_keys(helm: Helm) -> None:
    role = "s3.enabled=false,s3.external.useRole=true,s3.store=s3://bucket/flts"
    objects = helm.render("--set", role, "--set", "serviceAccountName=flts-cloud")
    for one, template in pods(objects):
        names = [variable["name"] for c in template["spec"]["containers"] for variable in c["env"]]
        assert "AWS_ACCESS_KEY_ID" not in names, one["metadata"]["name"]
        account = template["spec"].get("serviceAccountName")
        assert account == ("flts-secrets" if "secrets" in one["metadata"]["name"] else "flts-cloud")


def test_no_run_starts_before_rows_and_columns_are_named(helm: Helm) -> None:
    assert ("Job", "preprocess") not in kinds(helm.render())
    assert ("Job", "preprocess") not in kinds(helm.render("--set", "preprocess.datasetName=load"))
    assert ("Job", "preprocess") in kinds(helm.render(*RUN))


@pytest.mark.parametrize(("component", "scheme"), [("gateway", "HTTPS"), ("serve", "HTTP")])
def test_a_certificate_is_mounted_and_asked_for(helm: Helm, component: str, scheme: str) -> None:
    pod = named(helm.render("--set", f"{component}.tlsSecret=cert"), "Deployment", f"flts-{component}")
    spec = pod["spec"]["template"]["spec"]
    variables = {one["name"]: one.get("value") for one in spec["containers"][0]["env"]}
    assert variables["FLTS_TLS_CERTIFICATE_FILE"] == "/etc/flts-tls/tls.crt"
    assert {"name": "tls", "mountPath": "/etc/flts-tls", "readOnly": True} in spec["containers"][0]["volumeMounts"]
    assert {"name": "tls", "secret": {"secretName": "cert", "defaultMode": 0o440}} in spec["volumes"]
    # the forecast service is probed at its other port, which speaks plain HTTP
    assert spec["containers"][0]["readinessProbe"]["httpGet"]["scheme"] == scheme
    plain = named(helm.render(), "Deployment", f"flts-{component}")["spec"]["template"]["spec"]
    assert plain["containers"][0]["readinessProbe"]["httpGet"]["scheme"] == "HTTP"


def test_the_small_image_serves_where_it_has_every_family(helm: Helm) -> None:
    small = "serve.variant=serve,spec.models.gru.epochs=2,spec.models.ridge.alphas={1}"

    def images(*sets: str) -> dict[str, str]:
        objects = helm.render("--set", ",".join((small, *sets)))
        return {
            name: named(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["image"]
            for name in ("flts-serve", "flts-gateway")
        }

    assert images("image.tag=v2") == {"flts-serve": "flts:v2-serve", "flts-gateway": "flts:v2"}
    one, other = ("sha256:" + digit * 64 for digit in "01")
    digests = (f"image.digest={one}", f"serve.digest={other}")
    assert images(*digests) == {"flts-serve": f"flts@{other}", "flts-gateway": f"flts@{one}"}
    assert "name that of the small one" in helm.refused("--set", f"{small},image.digest={one}")
    assert "cannot answer with prophet" in helm.refused(
        "--set", f"{small},spec.models.prophet.seasonality_mode=additive"
    )
    assert "cannot answer with automfles" in helm.refused("--set", "serve.variant=serve")  # the default models


def test_a_bundle_of_cas_reaches_every_pod_that_speaks_tls(helm: Helm) -> None:
    for one, template in pods(helm.render(*RUN, "--set", "caBundle.configMap=company,caBundle.key=bundle.pem")):
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        if component in {"kafka", "s3", "postgresql", "secrets"}:  # the last one trusts the CA of the cluster alone
            continue
        [container] = template["spec"]["containers"]
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        names = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE")
        assert {variables.get(name) for name in names} == {"/etc/flts-ca/ca.crt"}, component
        assert {"name": "ca", "mountPath": "/etc/flts-ca", "readOnly": True} in container["volumeMounts"]
        items = [{"key": "bundle.pem", "path": "ca.crt"}]
        assert {"name": "ca", "configMap": {"name": "company", "items": items}} in template["spec"]["volumes"]
