"""Alerts fire when their condition is caused with the real services, and none in a healthy run; no panel is empty.

Prometheus is real, and its windows are shorter. One story in three acts: healthy, broken, cut off from its disks.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl
import pytest
from tests.deploy.test_dashboards import NAMES, panels
from tests.deploy.test_rules import ALERTS
from tests.support import ROOT
from tests.support.asked import ask
from tests.support.distributions import write_distribution
from tests.support.experiments import RIDGE, SMALL_GRU
from tests.support.gateways import Running, running
from tests.support.processes import Processes, Service, processes
from tests.support.prometheus import Prometheus, again_and_again, prometheus
from tests.support.promotions import off_by, promote, two_bundles
from tests.support.series import HOUR, hourly, split, table
from tests.support.servers import kafka_bus
from tests.support.services import LONG, wait_until
from tests.support.stored import copy

from flts.contracts.canonical import sha256
from flts.contracts.messages import InferenceData
from flts.stack.kafka import quick_kafka
from flts.stack.server import Server
from flts.wiring import open_store

pytestmark = pytest.mark.long

AT_START = {"FltsWatchdog", "FltsLiveErrorAbsent", "FltsSeriesAbsent"}
"""Prometheus runs before it knows its targets."""
RESTLESS = """
import json, os
from flts.models.base import Fit
from flts_drift import Drift

class Restless(Drift):
    name = "restless"

    def fit(self, block, validation, task, recipe, progress):
        return Fit({"slope.json": json.dumps([os.urandom(1)[0] / 1e6 for _ in range(task.targets)]).encode()}, {})
"""
"""An installed family, each fit of which gives other bytes."""
ORIGINS, HISTORY, ROWS = 120, 48, 700
"""Hours that forecasts begin at, that each looks back on, and in all."""
OPEN_REQUESTS = 'sum(rate(flts_serve_request_seconds_sum{route=~"/predict|/invocations|.*/infer"}[2m]))'
"""What scales the forecast service; chart/test_scaling.py compares it with the chart."""
TOKEN = "of-this-test-alone"  # noqa: S105 - of a server on loopback
AS = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}


@dataclass
class Story:
    """The services, and what watches them. targets: address of the metrics of each role."""

    folder: Path
    broker: Server
    watched: Prometheus
    ours: Processes
    ending: ExitStack
    workers: dict[str, Service] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    serve: Running | None = None

    @property
    def objects(self) -> Path:
        """The folder of the store."""
        return self.folder / "objects"

    def worker(self, name: str, *command: str) -> None:
        """Start one."""
        self.workers[name] = started = self.ours.start("worker", *command)
        self.targets[name] = str(started.events[0]["probes"])

    def server(self, name: str, command: str, **variables: str) -> Running:
        """Start the gateway or a forecast service."""
        at = self.folder / name
        at.mkdir()
        options = ["--token-file", str(self.folder / "token")] + (["--probe-port", "0"] if command == "serve" else [])
        environment = dict(self.ours.environment) | {"FLTS_HOME": str(at), "FLTS_POLL_SECONDS": "0.5"} | variables
        found = self.ending.enter_context(running(at, *options, command=command, **environment))
        self.targets[name] = found.lines()[0]["probes"] if command == "serve" else urlsplit(found.address).netloc
        return found

    def request(self, origin: int = 0, factor: float = 1.0) -> bytes:
        """The body of a request. origin: which of the last rows ends the history."""
        rows = pl.read_csv(self.folder / "rows.csv")[-ORIGINS - HISTORY + origin : -ORIGINS + origin]
        history = rows.with_columns(load=factor * rows["load"]).to_dict(as_series=False)
        return json.dumps({"history": history, "identifier": "global"}).encode()

    def forecast(self, origin: int = 0, factor: float = 1.0) -> int:
        """Ask once; returns the status."""
        assert self.serve is not None
        return self.serve.ask("POST", "/predict", self.request(origin, factor), AS)[0]

    def forecasts(self) -> None:
        """Ask from every origin, and wait until the store has the answers."""
        assert [self.forecast(origin) for origin in range(ORIGINS)] == [200] * ORIGINS
        stored = "flts_serve_log_spooled_bytes 0.0"
        wait_until(lambda: stored in ask(self.targets["serve"], "/metrics")[1], "the prediction log to be stored")

    def join(self, truth: str) -> None:
        """Compute the live error by this file."""
        done = self.ours.run("predictions", "join", "--truth", str(self.folder / truth), "--scope", "global", "--write")
        assert done.returncode == 0, done.stderr

    def fires(self, *names: str) -> None:
        """Wait until these alerts have fired."""
        missing = set(names)

        def fired() -> bool:
            missing.difference_update(self.watched.fired())
            return not missing

        end = time.monotonic() + 3 * LONG
        while not fired():
            assert time.monotonic() < end, f"{missing} did not fire; {set(self.watched.fired())} did"
            time.sleep(0.2)


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    """All services on a broker and a folder, none of them started yet."""
    folder = tmp_path / "story"
    folder.mkdir()
    for name in ("broker", "objects"):
        (folder / name).mkdir()
    (folder / "token").write_text(TOKEN)
    start = time.time_ns() // HOUR * HOUR - ROWS * HOUR
    for name, part in zip(("load", "load_test"), split(hourly(ROWS, start=start), ORIGINS), strict=True):
        part.write_csv(folder / f"{name}.csv")
    rows = table(hourly(ROWS, start=start))
    rows.write_csv(folder / "rows.csv")
    rows.with_columns(load=rows["load"] + 40.0 * (pl.int_range(pl.len()) % 2)).write_csv(folder / "odd.csv")
    (folder / "flts.toml").write_text(RIDGE + SMALL_GRU)
    drift = (ROOT / "examples/drift-model/flts_drift.py").read_text()
    points = {"restless": "restless:Restless"}
    site = write_distribution(folder / "site", "restless", "1", points, flts_drift=drift, restless=RESTLESS)
    with ExitStack() as ending:
        broker = ending.enter_context(quick_kafka(folder / "broker"))
        watched = ending.enter_context(prometheus(folder / "prometheus"))
        environment = {
            "FLTS_BUS": broker.url,
            "FLTS_STORE": (folder / "objects").as_uri(),
            "FLTS_PATIENCE": "20",
            "PYTHONPATH": os.pathsep.join([str(site), *sys.path]),
        }
        ours = ending.enter_context(processes(folder / "logs", environment))
        yield Story(folder, broker, watched, ours, ending)


def test_a_healthy_run_is_silent_no_panel_is_empty_and_every_alert_fires_of_its_condition(story: Story) -> None:
    _healthy(story)
    _broken(story)
    _cut_off(story)


def _healthy(story: Story) -> None:
    """No alert but the watchdog fires, and every panel shows something."""
    for name in ("evaluate", "forecast"):
        story.worker(name, name)
    for model in ("ridge", "gru"):
        story.worker(f"train-{model}", "train", "--model", model)
    gateway = story.server("gateway", "gateway")
    store = open_store(story.objects.as_uri())
    story.ours.until_judged(store, story.ours.claim(story.folder / "flts.toml"))
    story.serve = story.server("serve", "serve")
    story.forecasts()
    story.join("rows.csv")
    story.watched.scrape(story.targets)
    wait_until(lambda: bool(story.watched.query("flts_serve_live_skill")), "the live error to be read")
    began = time.monotonic()
    with again_and_again(story.forecast, 0.2):
        story.ours.until_judged(store, story.ours.claim(story.folder / "flts.toml", "--claim-test", "--recompute"))
        story.serve.ask("GET", "/nothing", headers=AS)
        gateway.ask("GET", "/objects/dataset", headers=AS)
        wait_until(lambda: time.monotonic() - began > 45, "most of a minute to pass")
        empty = [
            f"{name}: {panel['title']}: {target['expr']}"
            for name in NAMES
            for panel in panels(name)
            for target in panel["targets"]
            if not story.watched.query(target["expr"])
        ]
        open_requests = story.watched.query(OPEN_REQUESTS)
    assert empty == []
    assert set(story.watched.fired()) <= AT_START, story.watched.fired()
    assert float(open_requests[0]["value"][1]) > 0.0, "what scales the forecast service moves with its requests"
    firing = {row["metric"]["alertname"] for row in story.watched.query('ALERTS{alertstate="firing"}')}
    assert firing == {"FltsWatchdog"}


def _broken(story: Story) -> None:
    """Each condition is caused, and its alert fires."""
    assert story.serve is not None
    _promote_old_then_broken(story)
    story.server("serve-nobody", "serve", FLTS_SERVE_SCOPES='["nobody"]')
    story.watched.scrape(story.targets)
    story.fires("FltsReplicaStale", "FltsSelfTestFailed", "FltsNotReady")
    with again_and_again(partial(story.forecast, factor=1e6), 0.1):
        story.fires("FltsInputOutOfRange")
    with again_and_again(partial(_in_vain, story.serve, story.request()), 0.1):
        story.fires("FltsErrorsBurnFast", "FltsErrorsBurnSlowly", "FltsErrorBudgetSpent")
    with ThreadPoolExecutor(20) as pool, again_and_again(lambda: list(pool.map(_slowly, [story.serve] * 20)), 0.01):
        story.fires("FltsLatencyBurnsFast", "FltsLatencyBurnsSlowly")
    story.join("odd.csv")
    bus = kafka_bus(story.broker)
    bus.publish("model-training", "k", b"no message")
    _claims_without_champion(story, bus)
    story.fires("FltsDeadLetters", "FltsConsumerLag", "FltsConsumerStuck", "FltsLiveSkillLow", "FltsLiveCoverageOff")
    _claim_without_trainer(story)
    _fit_twice(story)
    story.fires("FltsNondeterminism", "FltsRunStuck")
    _fail_in_haste(story)
    story.fires("FltsCandidateFailed")


def _cut_off(story: Story) -> None:
    """What fires when the disks are gone; every alert has fired then."""
    with _away(story.objects), again_and_again(story.forecast, 0.1):
        story.fires("FltsBackendDown", "FltsPromotionsNotFollowed", "FltsPredictionLogBehind")
        with _away(story.folder / "serve/spool"):
            story.fires("FltsPredictionsLost")
    assert set(story.watched.fired()) == set(ALERTS)


@contextmanager
def _away(folder: Path) -> Iterator[None]:
    """A folder whose disk is not there; no other one can be made in its place."""
    aside = folder.rename(folder.with_suffix(".aside"))
    folder.touch()
    try:
        yield
    finally:
        folder.unlink()
        aside.rename(folder)


def _promote_old_then_broken(story: Story) -> None:
    """A scope whose champion is of long ago, and whose newest promotion fails its self-test."""
    memory, first, second = two_bundles()
    broken, store = off_by(memory, second, 1.0), open_store(story.objects.as_uri())
    copy(memory, store)
    promote(first, store=store, scope="old")
    story.fires("FltsModelOld", "FltsTrainRowsOld")
    promote(first, broken, store=store, scope="old")


def _slowly(server: Running) -> None:
    """A client that sends its body when most of a second has passed."""
    with _connected(server) as (connection, head):
        connection.sendall(head + b"Content-Length: 2\r\n\r\n")
        time.sleep(0.8)
        connection.sendall(b"{}")
        _read(connection)


def _in_vain(server: Running, body: bytes) -> None:
    """A client that sends everything at once, and waits for no time at all."""
    with _connected(server) as (connection, head):
        more = f"X-Request-Timeout: 0.000001\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head + more.encode() + body)
        _read(connection)


@contextmanager
def _connected(server: Running) -> Iterator[tuple[socket.socket, bytes]]:
    """A connection, and the head of a request for a forecast without its end."""
    place = urlsplit(server.address)
    head = f"POST /predict HTTP/1.1\r\nHost: {place.netloc}\r\nAuthorization: Bearer {TOKEN}\r\nConnection: close\r\n"
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        yield connection, head.encode() + b"Content-Type: application/json\r\n"


def _read(connection: socket.socket) -> None:
    while connection.recv(4096):
        continue


def _claims_without_champion(story: Story, bus: Any) -> None:
    """Claims of a scope in which nothing was promoted: they wait, and nothing else is asked."""
    data = (story.folder / "load_test.csv").read_bytes()
    store = open_store(story.objects.as_uri())
    store.create("dataset/rows.csv", data)
    for number in range(30):
        claim = InferenceData.model_validate(
            {
                "ts": f"2026-01-01T00:00:{number:02}Z",
                "identifier": f"nobody-{number}",
                "bucket": "dataset",
                "object_key": "rows.csv",
                "size": len(data),
                "sha256": sha256(data),
                "row_count": 60,
            }
        )
        bus.publish(claim.topic, claim.key, claim.to_bytes())


def _claim_without_trainer(story: Story) -> None:
    """A run that waits for a model: nobody fits it."""
    story.workers["train-gru"].stop()
    (story.folder / "flts.toml").write_text(RIDGE + SMALL_GRU + "[evaluate]\nwindows = 20\n")
    story.ours.claim(story.folder / "flts.toml")


def _fit_twice(story: Story) -> None:
    """A model of a family that draws its numbers from the system."""
    story.worker("train-restless", "train", "--model", "restless")
    store = open_store(story.objects.as_uri())
    (story.folder / "flts.toml").write_text(RIDGE + "[models.restless]\n")
    for options in ([], ["--recompute"]):
        story.ours.until_judged(store, story.ours.claim(story.folder / "flts.toml", *options))
    story.watched.scrape(story.targets)


def _fail_in_haste(story: Story) -> None:
    """A model that does not end in time, of the run that waits for it."""
    usual = story.ours.environment
    story.ours.environment = {**usual, "FLTS_TRAIN_TIMEOUT": "0.1"}
    story.worker("train-gru-hurried", "train", "--model", "gru")
    story.ours.environment = usual
