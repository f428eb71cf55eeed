"""Rules that every pod and every object of the chart keeps, whatever the values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import yaml
from tests.support.charts import (
    API,
    CHART,
    RUN,
    SCALERS,
    TEMPLATES,
    VALUES,
    Helm,
    Manifest,
    containers,
    environment,
    named,
    pods,
    written,
)
from typer.main import get_command

from flts.cli.main import app
from flts.settings import Settings

ALL = (
    *("--set", "preprocess.cronJob.enabled=true,serve.autoscaling.enabled=true,serve.ingress.enabled=true"),
    *("--set", "trainers.autoscaling.enabled=true,trainers.autoscaling.minReplicas=2"),
)
RENDERED = [*(("--values", name) for name in VALUES), (*RUN, *API, *ALL)]


@pytest.fixture(scope="module", params=RENDERED, ids=str)
def objects(helm: Helm, request: pytest.FixtureRequest) -> list[Manifest]:
    """The chart in one of its forms."""
    return helm.render(*request.param)


def every_container(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for one, template in pods(objects):
        for container in containers(template):
            yield f"{one['kind']} {one['metadata']['name']} {container['name']}", container


def ours(objects: list[Manifest]) -> Iterator[tuple[str, Manifest]]:
    for where, container in every_container(objects):
        if container.get("command") == ["flts"]:
            yield where, container


def test_every_container_is_confined(objects: list[Manifest]) -> None:
    for where, container in every_container(objects):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, where


def test_every_pod_runs_as_a_numbered_user_that_is_not_root(objects: list[Manifest]) -> None:
    for one, template in pods(objects):
        security = template["spec"]["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0, one["metadata"]["name"]
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_no_pod_but_that_of_the_secrets_has_a_token(objects: list[Manifest]) -> None:
    with_token = {
        one["metadata"]["labels"]["app.kubernetes.io/component"]
        for one, template in pods(objects)
        if template["spec"]["automountServiceAccountToken"]
    }
    assert with_token <= {"secrets"}


def test_no_pod_gets_variables_of_services(objects: list[Manifest]) -> None:
    # the Service flts-serve would set FLTS_SERVE_PORT=tcp://…, which is a setting
    assert all(template["spec"]["enableServiceLinks"] is False for _, template in pods(objects))


def test_every_container_has_requests_and_limits(objects: list[Manifest]) -> None:
    for where, container in every_container(objects):
        for part in ("requests", "limits"):
            assert {"cpu", "memory"} <= set(container["resources"][part]), where


def test_every_service_has_three_probes_and_what_ends_has_none(objects: list[Manifest]) -> None:
    for one, template in pods(objects):
        for container in template["spec"]["containers"]:
            found = {name for name in ("startupProbe", "livenessProbe", "readinessProbe") if name in container}
            ends = one["kind"] in {"Job", "CronJob", "Pod"}
            assert len(found) == (0 if ends else 3), one["metadata"]["name"]


def test_no_probe_of_life_asks_a_backend(objects: list[Manifest]) -> None:
    for where, container in ours(objects):
        for name in ("startupProbe", "livenessProbe"):
            assert container.get(name, {"httpGet": {"path": "/healthz"}})["httpGet"]["path"] == "/healthz", where


def test_workers_and_the_forecast_service_are_probed_at_the_port_without_data(objects: list[Manifest]) -> None:
    for one, template in pods(objects):
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        if component in {"train", "evaluate", "forecast", "serve"}:
            [container] = template["spec"]["containers"]
            assert container["readinessProbe"]["httpGet"]["port"] == "probes"
            assert {"name": "probes", "containerPort": 9090} in container["ports"]


def test_a_pod_has_longer_to_end_than_its_work(objects: list[Manifest]) -> None:
    for _, template in pods(objects):
        for container in template["spec"]["containers"]:
            variables = environment(container)
            work = sum(float(variables.get(name) or 0) for name in ("FLTS_GRACE", "FLTS_DRAIN_SECONDS"))
            assert template["spec"]["terminationGracePeriodSeconds"] > work


def test_no_image_is_called_latest_or_has_no_version(objects: list[Manifest]) -> None:
    for where, container in every_container(objects):
        assert re.search(r"(:(?!latest$)[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$", container["image"]), where


def test_every_variable_is_a_setting_and_has_a_value_that_it_takes(objects: list[Manifest]) -> None:
    for where, container in ours(objects):
        variables = environment(container)
        assert "OMP_NUM_THREADS" in variables, where
        given = {
            name.removeprefix("FLTS_").lower(): value for name, value in variables.items() if name.startswith("FLTS_")
        }
        assert set(given) <= set(Settings.model_fields), where
        plain = {name: value for name, value in given.items() if value is not None}
        Settings.model_validate(
            {name: yaml.safe_load(value) if value[:1] in "[{" else value for name, value in plain.items()}
        )


def test_every_command_exists_with_its_options(objects: list[Manifest]) -> None:
    for where, container in ours(objects):
        command, words = get_command(app), list(container["args"])
        while words and hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, where


def test_every_object_has_the_standard_labels(objects: list[Manifest]) -> None:
    wanted = {"name", "instance", "component", "version", "managed-by", "part-of"}
    for one in objects:
        labels = one["metadata"]["labels"]
        assert {f"app.kubernetes.io/{name}" for name in wanted} | {"helm.sh/chart"} <= set(labels)
        assert one["metadata"]["namespace"] == "forecasts"
        hook = one["metadata"].get("annotations", {}).get("helm.sh/hook")
        assert hook == ("test" if one["kind"] == "Pod" else None), one["metadata"]["name"]


def test_no_pod_names_the_chart_so_that_its_new_version_restarts_none(objects: list[Manifest]) -> None:
    for one, template in pods(objects):
        if one["kind"] != "Pod":  # that of `helm test` is made anew each time
            assert "helm.sh/chart" not in template["metadata"]["labels"]


def test_selectors_find_their_pods_and_nothing_else(objects: list[Manifest]) -> None:
    selected: list[tuple[str, frozenset[tuple[str, str]]]] = []
    for one, template in pods(objects):
        if one["kind"] in {"Deployment", "StatefulSet"}:
            labels = one["spec"]["selector"]["matchLabels"]
            assert labels.items() <= template["metadata"]["labels"].items()
            selected.append((one["metadata"]["name"], frozenset(labels.items())))
    assert len({labels for _, labels in selected}) == len(selected)
    assert not [(a, b) for a, labels in selected for b, others in selected if a != b and labels <= others]


def test_no_manifest_holds_a_secret_and_none_is_rendered_as_one(objects: list[Manifest]) -> None:
    assert not [one for one in objects if one["kind"] == "Secret"]
    for where, container in every_container(objects):
        for name, value in environment(container).items():
            secret = re.search(r"PASSWORD|SECRET|TOKEN", name) and not name.endswith("_FILE")
            assert not secret or value is None, f"{where} {name}"


def test_what_keeps_pods_from_going_is_rendered_for_two_replicas_at_least(objects: list[Manifest]) -> None:
    replicas = {one["metadata"]["name"]: one["spec"].get("replicas") for one in objects if one["kind"] == "Deployment"}
    least = {
        one["metadata"]["name"]: one["spec"].get("minReplicas", one["spec"].get("minReplicaCount"))
        for one in objects
        if one["kind"] in SCALERS
    }
    for one in objects:
        if one["kind"] == "PodDisruptionBudget":
            name = one["metadata"]["name"]
            assert (replicas[name] or least[name]) >= 2


def test_a_pod_that_is_not_ready_keeps_no_node_from_its_drain(objects: list[Manifest]) -> None:
    for one in objects:
        if one["kind"] == "PodDisruptionBudget":
            assert one["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_a_drained_node_is_no_failed_try_of_a_job(objects: list[Manifest]) -> None:
    jobs = [one["spec"] for one in objects if one["kind"] == "Job"]
    jobs += [one["spec"]["jobTemplate"]["spec"] for one in objects if one["kind"] == "CronJob"]
    for spec in jobs:
        ignored = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
        assert spec["podFailurePolicy"] == {"rules": [ignored]}
        assert spec["template"]["spec"]["restartPolicy"] == "Never", "Kubernetes asks for it"


def test_a_deployment_is_not_called_failed_while_its_pods_wait(helm: Helm) -> None:
    objects = helm.render("--set", "prepare.timeoutSeconds=2000,trainers.trainTimeoutSeconds=5000")
    for one in objects:
        if one["kind"] != "Deployment":
            continue
        longest = 2000
        [container] = one["spec"]["template"]["spec"]["containers"]
        probe = container["startupProbe"]
        longest += probe["periodSeconds"] * probe["failureThreshold"]
        if one["metadata"]["name"] == "flts-serve":
            longest += 5000
        assert one["spec"]["progressDeadlineSeconds"] > longest, one["metadata"]["name"]


def test_lists_name_nothing_twice_as_server_side_apply_asks(objects: list[Manifest]) -> None:
    for one, template in pods(objects):
        lists = [template["spec"]["volumes"]] if "volumes" in template["spec"] else []
        lists += [found for each in containers(template) for found in (each["env"], each.get("ports", []))]
        for found in lists:
            names = [item["name"] for item in found]
            assert len(names) == len(set(names)), one["metadata"]["name"]
        for each in containers(template):
            paths = [mount["mountPath"] for mount in each.get("volumeMounts", [])]
            assert len(paths) == len(set(paths)), one["metadata"]["name"]


def test_no_pod_has_a_fixed_name_in_its_groups_because_its_own_never_comes_back(objects: list[Manifest]) -> None:
    """A named member does not leave its group when it ends: every upgrade and drain would wait for its session."""
    named_members = [
        one["metadata"]["name"]
        for one, template in pods(objects)
        for container in containers(template)
        if "FLTS_KAFKA_MEMBER" in environment(container)
    ]
    assert not named_members


def test_volumes_are_of_kinds_that_the_restricted_standard_allows(objects: list[Manifest]) -> None:
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
    for one, template in pods(objects):
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(template["spec"])
        for volume in template["spec"].get("volumes", []):
            assert set(volume) - {"name"} <= allowed, one["metadata"]["name"]


def test_the_job_of_the_secrets_may_get_its_own_and_create(helm: Helm) -> None:
    objects = helm.render()
    assert named(objects, "Role", "flts-secrets")["rules"] == [
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["flts-generated"]},
    ]
    assert [one for one in objects if one["kind"] in {"ClusterRole", "ClusterRoleBinding"}] == []


def test_the_store_without_keys_answers_on_loopback_only(helm: Helm) -> None:
    [container] = named(helm.render(), "StatefulSet", "flts-s3")["spec"]["template"]["spec"]["containers"]
    assert {"-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.ip.bind=0.0.0.0", "-filer", "-s3"} <= set(container["args"])


def test_mlflow_answers_to_the_name_of_its_service(helm: Helm) -> None:
    [container] = named(helm.render(), "Deployment", "flts-mlflow")["spec"]["template"]["spec"]["containers"]
    [allowed] = [word for word in container["args"] if word.startswith("--allowed-hosts=")]
    names = allowed.partition("=")[2].split(",")
    trainer = named(helm.render(), "Deployment", "flts-train-gru")["spec"]["template"]["spec"]["containers"][0]
    asked = environment(trainer)["FLTS_MLFLOW_URI"]
    assert asked is not None
    assert asked.removeprefix("http://") in names


def test_a_trainer_has_the_cores_that_its_threads_need(helm: Helm) -> None:
    said = helm.refused("--set", "spec.run.threads=2")
    assert "fits with run.threads = 2, but its CPU limit is 1" in said
    objects = helm.render("--set", "spec.run.threads=2,trainers.resources.limits.cpu=2000m")
    for one, template in pods(objects):
        if one["metadata"]["labels"]["app.kubernetes.io/component"] == "train":
            assert environment(template["spec"]["containers"][0])["OMP_NUM_THREADS"] == "2"
    one_model = (
        "spec.run.threads=2",
        "trainers.resources.limits.cpu=2",
        "trainers.perModel.gru.resources.limits.cpu=1500m",
    )
    assert "gru fits with run.threads = 2" in helm.refused("--set", ",".join(one_model))


def test_values_of_one_trainer_are_its_own(helm: Helm) -> None:
    objects = helm.render("--set", "trainers.perModel.gru.replicas=3,trainers.perModel.gru.resources.limits.memory=8Gi")
    assert [named(objects, "Deployment", f"flts-train-{name}")["spec"]["replicas"] for name in ("gru", "lstm")] == [
        3,
        1,
    ]
    models = ", ".join(json.loads((CHART / "files/default-models.json").read_text()))
    assert f"valid: {models}" in helm.refused("--set", "trainers.perModel.grue.replicas=3")


def test_the_name_of_an_image(helm: Helm) -> None:
    digest = "sha256:" + "0" * 64

    def image(*sets: str) -> str:
        objects = helm.render("--set", ",".join(sets))
        name: str = named(objects, "Deployment", "flts-evaluate")["spec"]["template"]["spec"]["containers"][0]["image"]
        return name

    assert image("image.repository=a.example/flts", "image.tag=v1.2.0") == "a.example/flts:v1.2.0"
    assert image(f"image.digest={digest}") == f"flts@{digest}"
    assert "latest names another image every day" in helm.refused("--set", "image.tag=latest")


def test_the_image_is_pulled_again_in_development_only(helm: Helm) -> None:
    for name, policy in (("values-dev.yaml", "Always"), ("values-prod.yaml", "IfNotPresent")):
        objects = helm.render("--values", name)
        assert {container["imagePullPolicy"] for _, container in ours(objects)} == {policy}


def test_values_of_pods_reach_them(helm: Helm, tmp_path: Path) -> None:
    placed = {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "batch", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "low",
        "podLabels": {"team": "a"},
        "podAnnotations": {"note": "b"},
    }
    of_flts = ("preprocess", "prepare", "trainers", "evaluate", "forecast", "gateway", "serve", "test", "secrets")
    components = [*of_flts, "kafka", "s3", "postgresql", "mlflow"]
    values = dict.fromkeys(components, placed) | {
        "image": {"pullSecrets": [{"name": "login"}]},
        "extraEnv": [{"name": "EXTRA", "value": "1"}],
        "commonLabels": {"cost": "c"},
        "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "extra"}}],
    }
    objects = helm.render("--values", str(written(tmp_path, values)), *RUN)
    assert any(one["metadata"]["name"] == "extra" for one in objects)
    for one, template in pods(objects):
        spec, metadata = template["spec"], template["metadata"]
        assert {name: spec[name] for name in placed if name in spec} == {
            name: value for name, value in placed.items() if not name.startswith("pod")
        }, one["metadata"]["name"]
        assert (metadata["labels"]["team"], metadata["annotations"]["note"]) == ("a", "b")
        assert spec["imagePullSecrets"] == [{"name": "login"}]
        assert one["metadata"]["labels"]["cost"] == "c"
    assert all("EXTRA" in environment(container) for where, container in ours(objects) if not where.endswith("secrets"))


def test_pods_of_a_deployment_spread_over_nodes(objects: list[Manifest]) -> None:
    for one, template in pods(objects):
        component = one["metadata"]["labels"]["app.kubernetes.io/component"]
        if one["kind"] == "Deployment" and component != "mlflow":  # which has one pod at most
            [spread] = template["spec"]["topologySpreadConstraints"]
            assert spread["topologyKey"] == "kubernetes.io/hostname"
            assert spread["labelSelector"] == one["spec"]["selector"], one["metadata"]["name"]


def test_a_pod_that_reads_the_experiment_names_its_digest(objects: list[Manifest]) -> None:
    digest = sha256(named(objects, "ConfigMap", "flts-config")["data"]["flts.toml"].encode()).hexdigest()
    for one, template in pods(objects):
        reads = {"name": "config", "configMap": {"name": "flts-config"}} in template["spec"].get("volumes", [])
        said = template["metadata"].get("annotations", {}).get("checksum/flts-toml")
        assert said == (digest if reads else None), one["metadata"]["name"]


def test_an_ingress_leads_to_the_forecast_service(helm: Helm) -> None:
    sets = "serve.ingress.enabled=true,serve.ingress.host=a.example,serve.ingress.className=nginx"
    plain = named(helm.render("--set", sets), "Ingress", "flts-serve")["spec"]
    assert plain["ingressClassName"] == "nginx"
    assert "tls" not in plain
    [rule] = plain["rules"]
    [path] = rule["http"]["paths"]
    assert rule["host"] == "a.example"
    assert path["backend"]["service"] == {"name": "flts-serve", "port": {"name": "http"}}
    tls = named(helm.render("--set", f"{sets},serve.ingress.tlsSecret=cert"), "Ingress", "flts-serve")["spec"]["tls"]
    assert tls == [{"hosts": ["a.example"], "secretName": "cert"}]


def test_no_template_asks_for_chance_or_the_time() -> None:
    for file in TEMPLATES:
        text = file.read_text()
        assert not re.search(r"\b(rand\w+|uuidv4|now|genSignedCert|genSelfSignedCert|genCA|lookup)\b", text), file.name
