"""The rendered pods run in containers on a network of their own: with the image of FLTS, MLflow and PostgreSQL.

`podman kube play` starts them, without a cluster. What is not the chart's: the Secret that a Job makes in a cluster;
the names of Services, which are those of the pods here; the servers that FLTS does not build, which are the same
SeaweedFS and PostgreSQL from packages, and Tansu in place of Kafka.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from tests.deploy import conftest
from tests.deploy.conftest import Podman
from tests.deploy.test_started import stand_ins as started_stand_ins
from tests.support import ROOT
from tests.support.charts import Helm, Manifest
from tests.support.played import NODE, Cluster, StandIn
from tests.support.services import LONG, wait_until

from flts.client import Client
from flts.contracts import runs
from flts.contracts.ports import Store
from flts.contracts.records.run import JudgePart, RunClaim, TrainPart
from flts.deploy.secrets import RANDOM, S3_USER
from flts.deploy.smoke import SCOPE
from flts.promotion.log import read_log
from flts.settings import Settings
from flts.wiring import open_store

pytestmark = pytest.mark.long
containers, podman, base, build = conftest.containers, conftest.podman, conftest.base, conftest.build
stand_ins = started_stand_ins

VALUES = ("--values", "values-dev.yaml", "--set", "spec.models.prophet=null,spec.models.gru=null,clusterName=podman")
FILE = "/usr/share/flts/jfk-departures/flts.toml"
WAITING = ("flts-gateway", "flts-serve", "flts-train-ridge", "flts-evaluate", "flts-forecast", "flts-mlflow")
"""Pods that start before what they wait for."""
JOBS = ("flts-preprocess", "flts-prepare")
SERVERS = ("flts-kafka", "flts-s3", "flts-postgresql")
IMAGES = {
    "apache/kafka": (
        "tansu",
        "broker",
        "--advertised-listener-url=tcp://flts-kafka:9092",
        "--storage-engine=memory://tansu/",
    ),
    "chrislusf/seaweedfs": None,
    "library/postgres": ("sh", "/opt/postgres.sh"),
}
"""What the stand-in of each server runs; None: what the chart says."""
USER = 1000
"""The user of PostgreSQL in the stand-ins; the official image has another number."""


@dataclass
class Pods:
    """Pods on a network of their own."""

    podman: Podman
    network: str
    folder: Path
    environment: Mapping[str, str]
    documents: Mapping[str, Sequence[Manifest]]
    secret: Mapping[str, str]
    starting: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def play(self, *names: str) -> None:
        """Start pods without waiting for them: podman returns when the init containers of a pod have ended."""
        for name in names:
            file = self.folder / f"{name}.yaml"
            file.write_text(yaml.safe_dump_all(self.documents[name]))
            with (self.folder / f"{name}.log").open("wb") as log:
                self.starting[name] = subprocess.Popen(
                    ["podman", "kube", "play", f"--network={self.network}", str(file)],  # noqa: S607
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                )

    def until_started(self) -> None:
        """Wait for podman: it locks a pod while that starts, so nothing is asked before."""
        for name, process in self.starting.items():
            assert process.wait(20 * LONG) == 0, (name, (self.folder / f"{name}.log").read_text()[-3000:])

    def pod(self, name: str) -> Manifest:
        """What the chart says of it."""
        return next(one for one in self.documents[name] if one["kind"] == "Pod")

    def state(self, name: str) -> dict[str, Any]:
        """The state of the container that a pod is for."""
        own = self.pod(name)["spec"]["containers"][0]["name"]
        [inspected] = json.loads(self.podman("inspect", f"{name}-{own}").stdout)
        state: dict[str, Any] = inspected["State"]
        return state

    def ended(self, name: str) -> bool:
        """Whether a job has ended; it has to end well."""
        state = self.state(name)
        assert state["Running"] or state["ExitCode"] == 0, self.logs(name)
        return not state["Running"]

    def exec(self, name: str, *command: str) -> bool:
        """Whether a command in a pod ends well."""
        return self.podman("exec", f"{name}-{name.removeprefix('flts-')}", *command, check=False).returncode == 0

    def logs(self, name: str) -> str:
        """What the containers of a pod printed."""
        done = self.podman("pod", "logs", "--tail=60", name, check=False)
        return done.stdout + done.stderr

    def address(self, name: str) -> str:
        """The address of a pod, which this machine reaches, too."""
        infra = self.podman("pod", "inspect", "--format={{.InfraContainerID}}", name).stdout.strip()
        [inspected] = json.loads(self.podman("inspect", infra).stdout)
        found: str = inspected["NetworkSettings"]["Networks"][self.network]["IPAddress"]
        return found

    def store(self) -> Store:
        """The store of the pods."""
        settings = Settings(store="s3:///", s3_endpoint=f"http://{self.address('flts-s3')}:8333")
        return open_store(settings.store_url)

    def close(self) -> None:
        """Remove the pods and their volumes, those of a killed run, too."""
        for process in self.starting.values():
            process.terminate()
            process.wait(LONG)
        for name in self.documents:
            self.podman("pod", "rm", "--force", "--time=1", name, check=False)
            for volume in self.pod(name)["spec"]["volumes"]:
                self.podman("volume", "rm", "--force", volume["name"], check=False)


@pytest.fixture(scope="module")
def servers(podman: Podman, stand_ins: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The stand-ins with folders that a numbered user may write, as the official images have them."""
    name, folder = "localhost/flts-stand-ins:pods", tmp_path_factory.mktemp("stand-ins")
    mine = "/data /var/lib/kafka/data /var/lib/postgresql /var/run/postgresql"
    (folder / "Dockerfile").write_text(f"FROM {stand_ins}\nRUN mkdir -p {mine} && chown -R {USER} {mine}\n")
    podman("build", "--format=docker", "--tag", name, str(folder))
    return name


@pytest.fixture(scope="module")
def image(build: Callable[[str], str]) -> str:
    """The image of FLTS."""
    return build("all")


@pytest.fixture(scope="module")
def pods(
    helm: Helm,
    podman: Podman,
    containers: dict[str, str],
    image: str,
    servers: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Pods]:
    """A release whose first run is judged. Whatever waits started before what it waits for."""
    secret = {"s3-access-key": S3_USER, **{key: secrets.token_hex(32) for key in RANDOM}}
    servers_of = {part: StandIn(servers, USER, command) for part, command in IMAGES.items()}
    documents = Cluster(helm.render(*VALUES), servers_of, image, secret).played()
    network, folder = f"flts-pods-{os.getpid()}", tmp_path_factory.mktemp("pods")
    running = Pods(podman, network, folder, containers, documents, secret)
    running.close()
    podman("network", "create", network)
    with pytest.MonkeyPatch.context() as environment:
        for name, key in (("AWS_ACCESS_KEY_ID", "s3-access-key"), ("AWS_SECRET_ACCESS_KEY", "s3-secret-key")):
            environment.setenv(name, secret[key])
        environment.setenv("AWS_REGION", "us-east-1")
        try:
            running.play(*WAITING, *JOBS, *SERVERS)
            running.until_started()
            wait_until(lambda: running.ended("flts-preprocess"), "a run to be claimed", limit=10 * LONG)
            wait_until(lambda: running.exec("flts-serve", "flts", "health", "--ready"), "a champion", limit=20 * LONG)
            yield running
        finally:
            running.close()
            podman("network", "rm", "--force", network, check=False)


def test_no_container_started_twice_although_each_came_before_what_it_needs(pods: Pods) -> None:
    # none is started again by podman, so one that ended would still be seen
    assert {name: pods.state(name)["Status"] for name in (*WAITING, *SERVERS)} == dict.fromkeys(
        (*WAITING, *SERVERS), "running"
    )
    assert all(pods.ended(name) for name in JOBS)


def results(store: Store) -> dict[str, bytes]:
    """Every object that depends only on the Spec and the rows, bucket by bucket."""
    places = ("processed-data/", "specs/", "bundles/", "models/", "model-promotion/jfk/decisions/")
    return {key: store.get(key) or b"" for place in places for key in store.list(place)}


def test_the_bundle_is_that_of_a_run_on_one_machine_bit_by_bit(pods: Pods, image: str, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    command = ("run", FILE, "--models=ridge", "--recompute", "--json")
    volume = f"--volume={tmp_path}:/var/lib/flts"
    alone = json.loads(pods.podman("run", "--rm", "--network=none", volume, image, *command).stdout)
    store = pods.store()
    assert results(store) == results(open_store((tmp_path / "objects").as_uri()))
    [entry] = read_log(store, "jfk")
    assert entry.champion.config_hash == alone["config_hash"]
    assert entry.champion.run_id is not None, "MLflow has the run"


def test_the_records_name_release_pod_and_node(pods: Pods) -> None:
    store = pods.store()
    [entry] = read_log(store, "jfk")
    parts: dict[str, RunClaim | TrainPart | JudgePart] = {
        "flts-preprocess": next(runs.parts(store, entry.champion.config_hash, "claim", RunClaim)),
        "flts-train-ridge": next(runs.parts(store, entry.champion.config_hash, "train-ridge", TrainPart)),
        "flts-evaluate": next(runs.parts(store, entry.champion.config_hash, "judge", JudgePart)),
    }
    for pod, part in parts.items():
        assert part.deployment is not None
        said = {name: part.deployment[name] for name in ("release", "revision", "namespace", "cluster", "node", "host")}
        assert said == {
            "release": "flts",
            "revision": "1",
            "namespace": "forecasts",
            "cluster": "podman",
            "node": NODE,
            "host": pod,
        }


def test_helm_test_passes_and_the_forecast_service_answers(pods: Pods) -> None:
    pods.play("flts-test")
    pods.until_started()
    wait_until(lambda: pods.ended("flts-test"), "helm test", limit=10 * LONG)
    assert f"the pointer of scope {SCOPE} names promotion 1, RIDGE" in pods.logs("flts-test")
    assert "http://flts-serve:8000 answers with it: departures at " in pods.logs("flts-test")
    history = pl.read_csv(ROOT / "examples/jfk-departures/jfk-departures_test.csv").tail(400)
    url = f"http://{pods.address('flts-serve')}:8000"
    with Client(url, token=pods.secret["serve-token"], timeout=LONG) as client:
        forecast = client.forecast(history, identifier="jfk")
    assert (len(forecast.rows), forecast.model.model_type) == (24, "RIDGE")
