"""The overhead of services over one process, and the speed of batches; with a broker, S3, PostgreSQL and MLflow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.messages import InferenceData, PerformanceEval
from flts.contracts.ports import Bus, Store
from flts.forecasting.histories import Histories
from flts.preprocess.source import RawTable
from flts.serve.answer import rows_for
from flts.serve.follow import champion_of
from flts.settings import load_settings
from flts.stack.kafka import durable_kafka
from flts.stack.mlflow import mlflow
from flts.stack.postgres import postgres
from flts.stack.s3 import s3
from flts.wiring import SystemClock, open_bus, open_store
from tests.bench.measure import FLTS, LTE, Figure, best_of, fresh_folder, seconds
from tests.support import ROOT

SEED_RUN = (str(ROOT / "examples/lte/flts.toml"), "--source", str(LTE))
CLAIMS = 1000
ROWS = 1000
PATIENCE = 900.0


@dataclass
class Stack:
    """Running servers, and what a process needs to use them."""

    folder: Path
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]]

    @property
    def store(self) -> Store:
        return open_store(self.environment["FLTS_STORE"])

    @property
    def bus(self) -> Bus:
        return open_bus(load_settings(bus=self.environment["FLTS_BUS"], kafka_replication=1))

    def worker(self, *command: str) -> subprocess.Popen[bytes]:
        """`flts worker …` in the background."""
        return self.start("worker", *command, event="service_started")

    def start(self, *command: str, event: str) -> subprocess.Popen[bytes]:
        """`flts …` in the background; returns when it has logged this event."""
        file = self.folder / f"{'-'.join(command).replace('/', '')}.log"
        with file.open("wb") as log:
            process = subprocess.Popen([*FLTS, *command], env=self.variables(), cwd=self.folder, stderr=log)
        self.processes.append(process)
        wait_for(lambda: event in file.read_text(), file.stem)
        return process

    def end(self) -> None:
        """End all workers."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        self.processes.clear()

    def run(self, *command: str) -> dict[str, Any]:
        """Run `flts … --json`; returns what it printed."""
        done = subprocess.run(
            [*FLTS, *command, "--json"],
            env=self.variables(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        printed: dict[str, Any] = json.loads(done.stdout)
        return printed

    def variables(self) -> dict[str, str]:
        """Variables of a process that uses the servers."""
        return {**os.environ, **self.environment}


@contextmanager
def stack(*, tracking: bool) -> Iterator[Stack]:
    """Servers in a new folder; all are stopped afterwards."""
    with ExitStack() as opened:
        folder = opened.enter_context(fresh_folder())
        storage = opened.enter_context(s3(folder / "s3"))
        storage.make_buckets(["bench"])
        broker = opened.enter_context(durable_kafka(folder / "kafka", storage))
        environment = {
            **storage.credentials,
            "FLTS_STORE": "s3://bench/flts",
            "FLTS_BUS": broker.url,
            "FLTS_KAFKA_REPLICATION": "1",
            "FLTS_KAFKA_PARTITIONS": "1",
            "FLTS_PROBE_PORT": "0",
            "FLTS_TRACKING": "off",
            "FLTS_LOG_FORMAT": "json",
        }
        if tracking:
            database = opened.enter_context(postgres(folder / "postgres"))
            server = opened.enter_context(mlflow(folder / "mlflow", database, storage))
            environment |= {"FLTS_TRACKING": "mlflow", "FLTS_MLFLOW_URI": server.url}
        os.environ.update(storage.credentials)
        running = Stack(folder, environment, [])
        try:
            yield running
        finally:
            running.end()


def services() -> Iterator[Figure]:
    """The seed's run through waiting services, from the command to the judgement; beside `flts run`."""
    alone = best_of(3, _alone)
    with stack(tracking=True) as running:
        for model in ("gru", "lstm", "prophet"):
            running.worker("train", "--model", model)
        running.worker("evaluate")
        _through(running, 100)  # the first run creates topics, groups and the tracked experiment
        through = min(_through(running, seed) for seed in range(3))
    yield Figure(
        "the seed's run through services",
        f"{through:.1f} s",
        "3 s more than flts run",
        f"flts run {alone:.1f} s: {through - alone:+.1f} s, {through / alone:.2f} ×",
        "services",
    )


def _alone() -> float:
    with fresh_folder() as folder:
        return seconds([*FLTS, "run", *SEED_RUN, "--json"], folder)


def _through(running: Stack, seed: int) -> float:
    """Seconds of one run. A new seed is a new experiment, so nothing of it is stored yet."""
    start = time.perf_counter()
    claim = running.run("preprocess", *SEED_RUN, "--set", f"run.seed={seed}")
    part = layout.run_part(claim["config_hash"], claim["run"], "judge")
    store = running.store
    wait_for(lambda: store.exists(part), part)
    return time.perf_counter() - start


def batch() -> Iterator[Figure]:
    """Claims of rows answered by one forecaster; beside the champion's model in a loop over rows in memory."""
    for model in ("gru", "ridge"):
        with stack(tracking=False) as running:
            running.worker("train", "--model", model)
            running.worker("evaluate")
            claim = running.run("preprocess", *SEED_RUN, "--models", model)
            part = layout.run_part(claim["config_hash"], claim["run"], "judge")
            store, bus = running.store, running.bus
            wait_for(lambda: store.exists(part), part)  # noqa: B023 - the loop waits here
            running.end()
            tables = _tables()
            took = _answered(running, store, bus, tables)
            plain = _in_a_loop(store, tables)
            bus.close()
        yield Figure(
            f"{CLAIMS:,} claims of {ROWS:,} rows, champion {model}",
            f"{CLAIMS * ROWS / took:,.0f} rows/s",
            "0.6 of the model in a loop",
            f"the model alone {CLAIMS * ROWS / plain:,.0f} rows/s: ratio {plain / took:.2f}",
            "batch",
        )


def _tables() -> list[pl.DataFrame]:
    """Windows of the test rows, each shifted by a row or two."""
    rows = pl.read_csv(LTE / "PobleSec_test.csv")
    return [rows[start : start + ROWS] for start in range(0, 2 * CLAIMS, 2)]


def _answered(running: Stack, store: Store, bus: Bus, tables: list[pl.DataFrame]) -> float:
    """Seconds from the first to the last answer of one forecaster; all claims are sent before it starts."""
    claims = []
    for number, table in enumerate(tables):
        data = table.write_csv().encode()
        store.create(f"dataset/rows-{number}.csv", data)
        claims.append(
            InferenceData(
                ts=SystemClock().now(),
                identifier="global",
                bucket="dataset",
                object_key=f"rows-{number}.csv",
                size=len(data),
                sha256=sha256(data),
                row_count=ROWS,
            )
        )
    for claim in claims:
        bus.publish(claim.topic, claim.key, claim.to_bytes())
    running.worker("forecast")
    wait_for(lambda: len(bus.records(PerformanceEval.topic)) == len(claims), "the last answer", pause=1.0)
    sent = [record.timestamp_ms for record in bus.records(PerformanceEval.topic)]
    return (max(sent) - min(sent)) / 1000 * len(claims) / (len(claims) - 1)


def _in_a_loop(store: Store, tables: list[pl.DataFrame]) -> float:
    bundle = champion_of(store, "global").bundle
    rows = [rows_for(bundle, RawTable("rows", table)) for table in tables]
    wanted = bundle.model.task.lookback

    def once() -> float:
        start = time.perf_counter()
        for of_claim in rows:
            bundle.model.forecast_all(Histories(of_claim, np.arange(wanted, len(of_claim) + 1)))
        return time.perf_counter() - start

    return best_of(3, once)


def wait_for(condition: Callable[[], bool], what: str, pause: float = 0.02) -> None:
    """Wait for a condition; end the benchmark when it does not become true in time."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"timed out waiting for {what}")
        time.sleep(pause)
