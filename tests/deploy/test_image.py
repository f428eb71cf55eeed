"""The images, built by podman and run as a cluster runs them: a numbered user, a read-only root, no rights.

Sizes are compared without the base, plus what the real base takes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import canonicalize_name
from tests.deploy.conftest import Podman, config_hash_here
from tests.deploy.test_compose import SERVICE
from tests.deploy.test_images import script
from tests.support import ROOT
from tests.support.asked import ask
from tests.support.experiments import write_experiment
from tests.support.services import wait_until

from flts.stack.server import ports

pytestmark = pytest.mark.long
BASE_BYTES = 130 * 10**6
"""What python:3.11-slim-bookworm takes, rounded up."""
MOST_BYTES = {"serve": 600 * 10**6, "all": 2300 * 10**6}
LOCKED_DOWN = (
    "--read-only",
    "--cap-drop=all",
    "--security-opt=no-new-privileges",
    "--no-healthcheck",
    "--passwd=false",  # podman would write the number into its list of users
)
NOBODY = 54321
"""A user that stands in no list of users."""


@pytest.fixture(scope="module", params=["serve", "all"])
def variant(request: pytest.FixtureRequest) -> str:
    named: str = request.param
    return named


@pytest.fixture(scope="module")
def image(build: Callable[[str], str], variant: str) -> str:
    return build(variant)


def run(podman: Podman, image: str, *command: str, options: Sequence[str] = (), check: bool = True) -> Any:
    """Run a command without a network; the program is `flts` unless the options name another one."""
    scratch = ("--tmpfs=/tmp:mode=1777", "--tmpfs=/var/lib/flts:mode=1777")
    return podman("run", "--rm", "--network=none", *LOCKED_DOWN, *scratch, *options, image, *command, check=check)


def python(podman: Podman, image: str, code: str, *options: str) -> str:
    out: str = run(podman, image, "-c", code, options=("--entrypoint=python", *options)).stdout
    return out


def test_its_size_is_within_the_limit(podman: Podman, image: str, base: str, variant: str) -> None:
    sizes = {name: json.loads(podman("image", "inspect", name).stdout)[0]["Size"] for name in (image, base)}
    added = sizes[image] - sizes[base]
    print(f"{variant}: {added / 1e6:.0f} MB on a base of {sizes[base] / 1e6:.0f} MB")
    assert added + BASE_BYTES <= MOST_BYTES[variant]


def test_it_runs_for_a_number_that_is_no_user_with_a_read_only_root(podman: Podman, image: str) -> None:
    for user in ("10001", str(NOBODY)):
        assert run(podman, image, "--version", options=(f"--user={user}",)).stdout.startswith("flts ")
    config = json.loads(podman("image", "inspect", image).stdout)[0]["Config"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", config["User"])
    assert config["Labels"]["org.opencontainers.image.title"] == "flts"


def test_it_holds_the_packages_of_its_list_and_none_that_installs_others(
    podman: Podman, image: str, variant: str
) -> None:
    code = "import importlib.metadata as m; print(*{f'{d.name}=={d.version}' for d in m.distributions()}, sep='\\n')"
    found = {(canonicalize_name(name), number) for name, number in map(_pair, python(podman, image, code).split())}
    listed = set(re.findall(r"^([a-z0-9][a-z0-9-]*)==(\S+) ", script("sbom").requirements(variant), re.MULTILINE))
    assert {(name, number) for name, number in found if name != "flts"} == listed
    assert not {"pip", "setuptools"} & {name for name, _ in found - listed}


def test_its_bytecode_is_there_because_nobody_can_write_it_later(podman: Podman, image: str) -> None:
    code = (
        "import flts.server.app, flts.wiring, sys, os;"
        "print(*[m.__name__ for m in list(sys.modules.values()) if getattr(m, '__cached__', None)"
        " and m.__file__.endswith('.py') and not os.path.exists(m.__cached__)])"
    )
    assert python(podman, image, code).split() == []


def test_a_build_without_an_index_of_torch_ends_at_once_and_says_what_to_pass(podman: Podman, base: str) -> None:
    arguments = ["--build-arg", f"BASE={base}", "--build-arg", "TORCH_INDEX=file:///nowhere"]
    done = podman("build", "--network=none", *arguments, "-f", "deploy/Dockerfile", str(ROOT), check=False)
    assert done.returncode != 0
    assert "error: no torch for a CPU was found" in done.stderr + done.stdout
    assert "--build-arg TORCH_INDEX=URL" in done.stderr + done.stdout


def test_no_test_and_no_header_of_torch_is_in_it(podman: Podman, build: Callable[[str], str]) -> None:
    code = "import torch, os; print(sorted({'test', 'include'} & {*os.listdir(os.path.dirname(torch.__file__))}))"
    assert python(podman, build("all"), code).strip() == "[]"


def test_an_experiment_has_the_hash_of_this_machine_and_a_user_without_a_name_rolls_it_back(
    podman: Podman, build: Callable[[str], str], tmp_path: Path
) -> None:
    """The models of the example fit and MLflow tracks, without a network, with a read-only root."""
    tmp_path.chmod(0o777)
    image = build("all")
    options = ("--volume", f"{tmp_path}:/var/lib/flts", "--tmpfs=/tmp:mode=1777", f"--user={NOBODY}")

    def flts(*command: str) -> str:
        return podman("run", "--rm", "--network=none", *LOCKED_DOWN, *options, image, *command).stdout

    inside = "/usr/share/flts/jfk-departures/flts.toml"
    ran = json.loads(flts("run", inside, "--json"))
    flts("run", inside, "--set", "task.input_length=100", "--set", 'evaluate.gate="always"', "--models", "ridge")
    flts("promotions", "rollback", "--scope", "jfk", "--reason", "a test")
    entry = json.loads(flts("promotions", "list", "--scope", "jfk", "--json"))[0]
    assert (entry["kind"], entry["actor"], entry["reason"]) == ("rollback", f"uid {NOBODY}", "a test")
    assert {row["model"] for row in ran["decision"]["candidates"] if row["rank"]} == {"gru", "prophet", "ridge"}
    assert all(ran["run_ids"].values())
    assert ran["config_hash"] == config_hash_here()


def test_the_other_default_models_are_fitted_in_it(podman: Podman, build: Callable[[str], str], tmp_path: Path) -> None:
    """They need what their wheels leave to the system, and compile where nothing can be written beside them."""
    tmp_path.chmod(0o777)
    others = "models={automfles={},ensemble={},gbm={rounds=20},lstm={hidden_size=8,num_layers=1,epochs=1}}"
    command = ["run", "/usr/share/flts/jfk-departures/flts.toml", "--json", "--set", others]
    for few in ("sample.train_rows=600", "sample.test_rows=250", 'sample.strategy="head"', "task.horizon=2"):
        command += ["--set", few]
    options = ["--volume", f"{tmp_path}:/var/lib/flts", "--tmpfs=/tmp:mode=1777", f"--user={NOBODY}"]
    options += ["--env=FLTS_TRACKING=off", "--env=OMP_NUM_THREADS=1"]
    done = podman("run", "--rm", "--network=none", *LOCKED_DOWN, *options, build("all"), *command)
    ranked = {row["model"] for row in json.loads(done.stdout)["decision"]["candidates"] if row["rank"]}
    assert ranked >= {"automfles", "ensemble", "gbm", "lstm"}


@pytest.fixture
def served(podman: Podman, build: Callable[[str], str], tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A container that serves a small store from this machine: its name and its probes."""
    write_experiment(tmp_path)
    environment = os.environ | {"FLTS_TRACKING": "off", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "flts", "run", "flts.toml"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    subprocess.run(["chmod", "-R", "a+rwX", str(tmp_path)], check=True)  # noqa: S607
    port = ports(tmp_path, "serve", "probes")
    name = f"flts-test-{os.getpid()}"
    options = ["--name", name, "--volume", f"{tmp_path / '.flts'}:/var/lib/flts", "--tmpfs=/tmp:mode=1777"]
    options += ["--env", f"FLTS_PROBE_PORT={port['probes']}", "--env", f"FLTS_SERVE_PORT={port['serve']}"]
    podman("run", "--detach", "--network=host", *LOCKED_DOWN, *options, build("serve"), "serve")
    yield name, f"127.0.0.1:{port['probes']}"
    podman("rm", "--force", name)


def test_the_small_image_serves_and_says_that_it_is_well(podman: Podman, served: tuple[str, str]) -> None:
    name, probes = served
    wait_until(lambda: _ready(probes), "the service is ready")
    assert podman("exec", name, "flts", "health", "--ready").returncode == 0
    podman("stop", "--time=60", name)
    assert json.loads(podman("inspect", name).stdout)[0]["State"]["ExitCode"] == 0


def test_mlflows_server_starts_as_compose_starts_it(podman: Podman, build: Callable[[str], str]) -> None:
    """With a database of its own, because PostgreSQL and S3 are tested with the same server outside a container."""
    entrypoint = SERVICE["mlflow"]["entrypoint"]
    name = f"flts-test-mlflow-{os.getpid()}"
    options = ["--name", name, "--tmpfs=/tmp:mode=1777", "--tmpfs=/var/lib/flts:mode=1777", f"--user={NOBODY}"]
    options += ["--env=MLFLOW_BACKEND_STORE_URI=sqlite:////tmp/mlflow.db", f"--entrypoint={json.dumps(entrypoint)}"]
    podman("run", "--detach", "--network=none", *LOCKED_DOWN, *options, build("all"))
    try:
        check = SERVICE["mlflow"]["healthcheck"]["test"][1:]
        wait_until(lambda: podman("exec", name, *check, check=False).returncode == 0, "MLflow answers")
    finally:
        podman("rm", "--force", name)


def _pair(line: str) -> tuple[str, str]:
    name, _, number = line.partition("==")
    return name, number


def _ready(address: str) -> bool:
    try:
        return ask(address, "/readyz")[0] == 200
    except OSError:
        return False
