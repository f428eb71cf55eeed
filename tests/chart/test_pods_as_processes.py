"""The pods of the chart as processes: their commands, variables and flts.toml, on real servers of this machine.

What is replaced is what a cluster gives: names of Services, values of Secrets, folders of pods.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.charts import Helm, Manifest, environment, named
from tests.support.experiments import write_experiment
from tests.support.processes import Processes, processes

import flts
from flts.contracts import runs
from flts.promotion.log import read_log
from flts.settings import Settings
from flts.stack.kafka import quick_kafka
from flts.stack.s3 import S3, s3
from flts.stack.server import Server
from flts.wiring import open_store

VALUES = (
    *("--set", "mlflow.enabled=false,preprocess.datasetName=load,spec.dataset.targets={load}"),
    *("--set", "spec.task.input_length=12,spec.task.horizon=3,spec.models.ridge.alphas={0.01,1,1000000}"),
)
LOCAL = """
v = 2
[dataset]
name = "load"
source = "."
targets = ["load"]
[task]
input_length = 12
horizon = 3
[models.ridge]
alphas = [0.01, 1.0, 1e6]
"""


@dataclass(frozen=True)
class Cluster:
    """What the pods find: a store, a broker, and a folder in place of their own."""

    folder: Path
    storage: S3
    broker: Server

    @contextmanager
    def pod(self, owner: Manifest, container: Manifest) -> Iterator[tuple[Processes, list[str]]]:
        """A place to run a container in, and its arguments."""
        here = {
            "http://flts-s3:8333": self.storage.url,
            "kafka://flts-kafka:9092": self.broker.url,
            "/var/lib/flts": str(self.folder / owner["metadata"]["name"]),
            "0.0.0.0": "127.0.0.1",  # noqa: S104 - what is replaced
        }
        given = {name: here.get(value, value) for name, value in environment(container).items() if value is not None}
        given |= dict(self.storage.credentials) | {"FLTS_PROBE_PORT": "0"}
        arguments = [
            str(self.folder / "flts.toml") if word == "/etc/flts/flts.toml" else word for word in container["args"]
        ]
        with processes(self.folder / owner["metadata"]["name"], given) as place:
            yield place, arguments

    def run(self, owner: Manifest, container: Manifest) -> str:
        """Run a container to its end; returns what it printed."""
        with self.pod(owner, container) as (place, arguments):
            done = place.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A store without buckets and a broker without topics."""
    with s3(tmp_path / "s3") as storage, quick_kafka(tmp_path / "kafka") as broker:
        for name, value in storage.credentials.items():
            monkeypatch.setenv(name, value)
        yield Cluster(tmp_path, storage, broker)


def test_the_pods_of_a_release_promote_the_bundle_of_a_local_run(helm: Helm, cluster: Cluster, tmp_path: Path) -> None:
    objects = helm.render(*VALUES)
    local = tmp_path / "local"
    local.mkdir()
    expected = flts.run(write_experiment(local, LOCAL), settings=Settings(home=local / ".flts", tracking="off"))
    assert expected.champion is not None
    (tmp_path / "flts.toml").write_text(named(objects, "ConfigMap", "flts-config")["data"]["flts.toml"])

    def containers(kind: str, name: str) -> tuple[Manifest, list[Manifest], Manifest]:
        owner = named(objects, kind, name)
        spec = owner["spec"]["template"]["spec"]
        return owner, spec.get("initContainers", []), spec["containers"][0]

    job, _, container = containers("Job", "flts-prepare")
    assert "dataset" in cluster.run(job, container)
    store = open_store(Settings(store="s3:///", s3_endpoint=cluster.storage.url).store_url)
    for name in ("load.csv", "load_test.csv"):
        store.create(f"dataset/{name}", (local / name).read_bytes())
    with ExitStack() as ended:
        workers = []
        for name in ("flts-train-ridge", "flts-evaluate", "flts-forecast"):
            deployment, waiting, container = containers("Deployment", name)
            assert "every backend answers" in cluster.run(deployment, waiting[0])
            place, arguments = ended.enter_context(cluster.pod(deployment, container))
            workers.append((place, place.start(*arguments)))
        job, waiting, container = containers("Job", "flts-preprocess")
        assert "the rows are there" in cluster.run(job, waiting[0])
        cluster.run(job, container)
        [number] = runs.numbers(store, expected.config_hash)
        claim = {"config_hash": expected.config_hash, "run": number}
        workers[0][0].until_judged(store, claim)
        assert [service.stop() for _, service in workers] == [0, 0, 0]
    [champion] = read_log(store, "global")
    assert champion.champion.config_hash == expected.config_hash
    assert champion.champion.bundle_sha256 == expected.champion.champion.bundle_sha256
