"""`flts serve` as a process: what it says where nothing was promoted, its probes, what it costs to start."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.support.asked import ask
from tests.support.experiments import SMALL_GRU, write_experiment
from tests.support.gateways import MODULE, Running, running
from tests.support.promotions import off_by, promote, two_bundles
from tests.support.series import hourly
from tests.support.services import wait_until
from tests.support.stored import copy

from flts.backends.store import open_store
from flts.home import open_home

pytestmark = pytest.mark.slow

HEAVY = {"pandas", "polars", "torch", "mlflow", "onnx.reference", "scipy", "sklearn", "matplotlib"}
MOST_MB = 150
REPORT = """
import atexit, json, sys
def report():
    status = open("/proc/self/status").read()
    kib = int(status.partition("VmHWM:")[2].split()[0])  # getrusage counts what the parent had before the exec
    print(json.dumps({"modules": sorted(sys.modules), "mb": kib // 1024}), flush=True)
atexit.register(report)
from flts.cli.main import main
main()
"""
"""`flts`, which says at its end what it has imported and used."""


def flts(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MODULE, *arguments], cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


@contextmanager
def serving(folder: Path, *options: str, **variables: str) -> Iterator[Running]:
    """A service that is ready."""
    with running(folder, "--probe-port", "0", *options, command="serve", **variables) as server:
        probes = address_of_probes(server)
        wait_until(lambda: ask(probes, "/readyz")[0] == 200, "readiness")
        yield server


def address_of_probes(server: Running) -> str:
    return str(server.lines()[0]["probes"])


def test_where_nothing_was_run_the_message_says_so(tmp_path: Path) -> None:
    refused = flts(tmp_path, "serve", "--port", "0")
    assert refused.returncode == 2
    assert "flts run" in refused.stderr
    assert "Traceback" not in refused.stderr
    open_home(tmp_path / ".flts")
    refused = flts(tmp_path, "serve", "--port", "0")
    assert refused.returncode == 2
    assert "nothing was promoted" in refused.stderr
    assert "flts run" in refused.stderr


def test_promotions_are_followed_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    memory, first, second = two_bundles()
    broken = off_by(memory, second, 1.0)
    store = open_store((tmp_path / "objects").as_uri())
    copy(memory, store)
    promote(first, store=store)
    with serving(tmp_path, FLTS_STORE=store.url, FLTS_POLL_SECONDS="0.05") as server:
        probes = address_of_probes(server)

        def promotion() -> int:
            return int(json.loads(server.ask("GET", "/model?identifier=global")[1])["promotion"])

        assert promotion() == 1
        promote(first, second, store=store)
        wait_until(lambda: promotion() == 2, "the second promotion")
        promote(first, second, broken, store=store)
        wait_until(lambda: 'flts_serve_stale{scope="global"} 1.0' in ask(probes, "/metrics")[1], "a stale model")
        assert promotion() == 2
        assert ask(probes, "/readyz") == (200, json.dumps({"loop": "ok", "open": "ok", "models": "ok"}))
        assert ask(probes, "/healthz") == (200, json.dumps({"loop": "ok"}))
        assert server.ask("GET", "/readyz")[0] == 200
        assert server.ask("POST", "/reload")[0] == 202
        page = ask(probes, "/metrics")[1]
        assert "flts_serve_loop_lag_seconds" in page
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(60) == 0
    said = [line["event"] for line in server.lines() if line["event"] != "request_served"]
    assert said == ["server_started", "model_loaded", "model_loaded", "model_swap", "model_stale", "service_stopped"]


def test_a_taken_probe_port_is_refused_only_where_somebody_chose_it(tmp_path: Path) -> None:
    memory, first, _ = two_bundles()
    store = open_store((tmp_path / "objects").as_uri())
    copy(memory, store)
    promote(first, store=store)
    with serving(tmp_path, FLTS_STORE=store.url) as server:
        taken = address_of_probes(server).rpartition(":")[2]
        chosen = subprocess.run(
            [*MODULE, "serve", "--port", "0", "--probe-port", taken, "--home", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "FLTS_STORE": store.url},
        )
        assert chosen.returncode == 2
        assert taken in chosen.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
@pytest.mark.parametrize("model", ["ridge", pytest.param("gru", marks=pytest.mark.long)])
def test_a_start_and_a_request_are_small_and_load_no_large_library(tmp_path: Path, model: str) -> None:
    write_experiment(tmp_path)
    if model == "gru":
        (tmp_path / "flts.toml").write_text((tmp_path / "flts.toml").read_text().replace("[models.ridge]", SMALL_GRU))
    made = flts(tmp_path, "run")
    assert "promoted" in made.stdout, made.stderr
    rows = hourly(290)
    times = [f"{np.datetime64(int(ns), 's')}Z" for ns in rows.times // 10**9]
    history = {"time": times, **{name: rows.select([name])[:, 0].tolist() for name in rows.columns}}
    out = tmp_path / "report.json"
    with out.open("w") as report:
        program = [sys.executable, "-c", REPORT]
        with running(tmp_path, "--probe-port", "0", command="serve", program=program, stdout=report) as server:
            probes = address_of_probes(server)
            wait_until(lambda: ask(probes, "/readyz")[0] == 200, "readiness")
            status, answer = server.ask("POST", "/predict", json.dumps({"history": history}))
            assert status == 200, answer
            assert len(json.loads(answer)["forecasts"]) == 3
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(60) == 0
    used = json.loads(out.read_text())
    assert HEAVY & set(used["modules"]) == set()
    assert used["mb"] <= MOST_MB
