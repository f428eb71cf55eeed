"""Who is killed between a tracked run and the record of its id tracks it once, however often it starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.experiments import write_experiment
from tests.support.processes import processes
from tests.support.servers import s3_prefix

from flts.contracts import runs
from flts.contracts.failpoints import ENV
from flts.contracts.records.run import FailurePart, TrainPart
from flts.promotion.log import read_log
from flts.settings import load_settings
from flts.stack.kafka import durable_kafka
from flts.stack.s3 import S3
from flts.stack.server import Server
from flts.wiring import open_store

pytest.importorskip("mlflow")

RECORDED: dict[str, tuple[str, type[TrainPart | FailurePart]]] = {
    "FINISHED": ("train-ridge", TrainPart),
    "FAILED": ("failures/ridge", FailurePart),
}
"""Where a run's id is written down, by how it ended."""
ARMED = {"FINISHED": "run.train.before=kill", "FAILED": "run.failure.before=kill"}
HURRIED = {"FINISHED": {}, "FAILED": {"FLTS_TRAIN_TIMEOUT": "0.001"}}
"""What makes it end so."""


@pytest.fixture(params=["embedded", pytest.param("server", marks=pytest.mark.long)])
def uri(request: pytest.FixtureRequest) -> str:
    """Where runs are logged to; empty for the database of the folder."""
    return str(request.getfixturevalue("mlflow_server").url) if request.param == "server" else ""


def flts_run(folder: Path, environment: Mapping[str, str], armed: str = "") -> int:
    """Exit code of `flts run` there."""
    command = [sys.executable, "-m", "flts", "run", "--set", f"dataset.identifier={folder.name}"]
    settings = {"FLTS_TRACKING": "mlflow", "FLTS_LOG_FORMAT": "off", ENV: armed, **environment}
    return subprocess.run(command, check=False, cwd=folder, env=os.environ | settings, capture_output=True).returncode


def tracked(uri: str, scope: str) -> dict[str, str]:
    """How every run of a scope ended, by its id."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(f"flts/{scope}")
    if experiment is None:
        return {}
    return {run.info.run_id: run.info.status for run in client.search_runs([experiment.experiment_id])}


@pytest.mark.long
@pytest.mark.parametrize("ended", ["FINISHED", "FAILED"])
def test_a_run_that_was_tracked_or_recorded_alone_is_one_run_in_the_end(ended: str, uri: str, tmp_path: Path) -> None:
    write_experiment(tmp_path)
    settings = {"FLTS_MLFLOW_URI": uri, **HURRIED[ended]}
    home = load_settings(home=tmp_path / ".flts", mlflow_uri=uri)
    if uri:  # a server gives the id: the run is written before it
        assert flts_run(tmp_path, settings, ARMED[ended]) == -signal.SIGKILL
        assert list(tracked(home.tracking_uri, tmp_path.name).values()) == [ended]
    else:  # the id is recorded before the run is written
        assert flts_run(tmp_path, settings, "run.track.before=kill") == -signal.SIGKILL
        assert ended not in tracked(home.tracking_uri, tmp_path.name).values()
    assert flts_run(tmp_path, settings) == (0 if ended == "FINISHED" else 1)
    ((run_id, status),) = tracked(home.tracking_uri, tmp_path.name).items()
    assert status == ended
    store = open_store(home.store_url)
    (config_hash,) = {key.split("/")[1] for key in store.list("runs/")}
    assert {record.run_id for record in runs.parts(store, config_hash, *RECORDED[ended])} == {run_id}
    champions = [entry.champion.run_id for entry in read_log(store, tmp_path.name)]
    assert champions == ([run_id] if ended == "FINISHED" else [])
    # the same in another folder is another run
    elsewhere = tmp_path / "elsewhere" / tmp_path.name
    elsewhere.mkdir(parents=True)
    write_experiment(elsewhere)
    assert flts_run(elsewhere, settings) == (0 if ended == "FINISHED" else 1)
    assert len(tracked(home.tracking_uri, tmp_path.name)) == (2 if uri else 1)


@pytest.fixture
def broker(tmp_path: Path, s3_server: S3) -> Iterator[Server]:
    """One of this test's own."""
    (tmp_path / "broker").mkdir()
    with durable_kafka(tmp_path / "broker", s3_server, cluster=tmp_path.name.replace("_", "-")) as server:
        yield server


@pytest.mark.long
def test_a_trainer_that_is_killed_there_leaves_one_run_for_the_next_trainer(
    tmp_path: Path, s3_server: S3, broker: Server, mlflow_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3_prefix(s3_server, monkeypatch)
    tracking = {"FLTS_TRACKING": "mlflow", "FLTS_MLFLOW_URI": mlflow_server.url}
    with processes(tmp_path / "logs", {"FLTS_BUS": broker.url, "FLTS_STORE": url}) as running:
        running.environment = dict(running.environment) | tracking
        running.worker("evaluate")
        victim = running.worker("train", failpoints=ARMED["FINISHED"])
        file = write_experiment(tmp_path)
        claim = running.claim(file, "--set", f"dataset.identifier={tmp_path.name}")
        victim.died()
        (first,) = tracked(mlflow_server.url, tmp_path.name)
        running.worker("train")
        running.until_judged(open_store(url), claim)
        assert tracked(mlflow_server.url, tmp_path.name) == {first: "FINISHED"}
