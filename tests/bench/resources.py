"""Peak memory and CPU of every role on the example, from which the chart takes its requests and limits.

`python -m tests.bench.resources` starts servers and services, runs jfk-departures through them and asks the forecast
service, while it samples each role with its children. It prints the table of docs/kubernetes.md, which
deploy/test_resources.py compares with the values of the chart.
"""

from __future__ import annotations

import json
import math
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import polars as pl
import psutil

from flts.contracts import layout
from flts.contracts.messages import PerformanceEval
from flts.spec.models import DEFAULT_MODELS, ENSEMBLE
from flts.stack.server import answers, ports
from tests.bench.measure import FLTS
from tests.bench.services import Stack, stack, wait_for
from tests.support import ROOT

EXPERIMENT = ROOT / "examples/jfk-departures/flts.toml"
PAUSE = 0.05
"""Seconds between two samples; the peak of a fit lasts longer."""
MIB = 2**20
ASKED = 50
"""Requests to the forecast service for each model, each for the next day after a week."""
WEEK = 168
SERVERS = {"mlflow server": "MLflow", "/weed ": "S3 (SeaweedFS)", "bin/postgres ": "PostgreSQL"}
"""What stands in the command of each server; the broker here is another one than Kafka."""


@dataclass
class Used:
    """What a process and its children took so far. peak: bytes resident at once; seconds: of CPU, by process id."""

    peak: int = 0
    seconds: dict[int, float] = field(default_factory=dict)

    def sample(self, process: psutil.Process) -> None:
        """Look once. Pages that two processes share count twice."""
        resident = 0
        for one in [process, *process.children(recursive=True)]:
            try:
                resident += one.memory_info().rss
                used = one.cpu_times()
                self.seconds[one.pid] = used.user + used.system
            except psutil.NoSuchProcess:
                continue
        self.peak = max(self.peak, resident)


@contextmanager
def sampled() -> Iterator[tuple[dict[str, psutil.Process], dict[str, Used]]]:
    """Processes by name, to be filled during the block, and what each of them takes until its end."""
    processes, used, over = dict[str, psutil.Process](), dict[str, Used](), threading.Event()

    def look() -> None:
        while not over.wait(PAUSE):
            for name, process in list(processes.items()):
                try:
                    used.setdefault(name, Used()).sample(process)
                except psutil.NoSuchProcess:
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield processes, used
    finally:
        over.set()
        thread.join()


def main() -> None:
    """Print the table."""
    with stack(tracking=True) as running, sampled() as (processes, used):
        for child in psutil.Process().children():
            for server, role in SERVERS.items():
                if server in " ".join(child.cmdline()):
                    processes[role] = child
        prepared = subprocess.Popen([*FLTS, "deploy", "prepare"], env=running.variables(), cwd=running.folder)
        processes["prepare"] = psutil.Process(prepared.pid)
        prepared.wait()
        for model in sorted({*DEFAULT_MODELS} - {ENSEMBLE}):  # which the evaluator makes
            processes[f"train {model}"] = psutil.Process(running.worker("train", "--model", model).pid)
        for service in ("evaluate", "forecast"):
            processes[service] = psutil.Process(running.worker(service).pid)
        port = ports(running.folder, "gateway", "serve")
        for server in port:
            started = running.start(server, "--port", str(port[server]), event="server_started")
            processes[server] = psutil.Process(started.pid)
        claim = _preprocess(running, processes)
        part = layout.run_part(claim["config_hash"], claim["run"], "judge")
        wait_for(lambda: running.store.exists(part), part)
        _preprocess(running, processes, "--claim-test")  # the forecaster waits for no champion any more
        wait_for(lambda: len(running.bus.records(PerformanceEval.topic)) > 0, "the forecasts of the test rows")
        for model in DEFAULT_MODELS:
            promote = [*FLTS, "promotions", "promote", claim["config_hash"], model, "--scope", "jfk"]
            subprocess.run(promote, env=running.variables(), cwd=running.folder, check=True)
            _ask(f"http://127.0.0.1:{port['serve']}", model)
        _store(f"http://127.0.0.1:{port['gateway']}/objects/dataset/rows.csv")
    print("| role | peak memory | CPU | request | limit |\n|---|---|---|---|---|")
    for name, of in used.items():
        peak, seconds = math.ceil(of.peak / MIB), round(sum(of.seconds.values()), 1)
        asked = f"{request(peak)}Mi, {cpu(seconds)}m" if not name.startswith("train") else f"{request(peak)}Mi, a core"
        print(f"| {name} | {peak} MiB | {seconds} s | {asked} | {limit(peak)}Mi |")


def request(peak: int) -> int:
    """MiB of memory to request for a peak of so many MiB."""
    return math.ceil(peak / 128) * 128


def limit(peak: int) -> int:
    """MiB of memory to allow: four times as many, and 1 GiB at least, for more rows than those of the example."""
    return max(1024, math.ceil(4 * peak / 256) * 256)


def cpu(seconds: float) -> int:
    """Thousandths of a core to request, so that this work is done in half a minute where the node has no more."""
    return math.ceil(seconds / 30 * 1000 / 50) * 50


def _preprocess(running: Stack, processes: dict[str, psutil.Process], *options: str) -> dict[str, Any]:
    """Start a run of the example; returns its claim."""
    command = [*FLTS, "preprocess", str(EXPERIMENT), "--json", *options]
    for model in DEFAULT_MODELS:  # those of the example keep its parameters
        command += ["--set", f"models.{model}={{}}"]
    job = subprocess.Popen(command, env=running.variables(), cwd=running.folder, stdout=subprocess.PIPE, text=True)
    processes["preprocess"] = psutil.Process(job.pid)
    claim: dict[str, Any] = json.loads(job.communicate()[0])
    return claim


def _ask(serve: str, model: str) -> None:
    """Requests for the next day after the last week of the test rows, once this model answers."""
    wait_for(lambda: answers(f"{serve}/readyz"), "the forecast service")
    week = pl.read_csv(EXPERIMENT.parent / "jfk-departures_test.csv").tail(WEEK)
    body = {"history": week.to_dict(as_series=False), "identifier": "jfk"}
    with httpx.Client(base_url=serve, timeout=60) as client:
        wait_for(lambda: client.get("/model?identifier=jfk").json()["model_type"].lower() == model, model, pause=1.0)
        for _ in range(ASKED):
            client.post("/predict", json=body).raise_for_status()


def _store(place: str) -> None:
    """Put the train rows into the store, and read them back."""
    with httpx.Client(timeout=60) as client:
        client.put(place, content=(EXPERIMENT.parent / "jfk-departures.csv").read_bytes()).raise_for_status()
        client.get(place).raise_for_status()


if __name__ == "__main__":
    main()
