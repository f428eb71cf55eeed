"""The same experiment on this disk, and with its objects in S3 and its runs on an MLflow server: the same result."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.support.series import hourly, split, table
from tests.support.servers import s3_prefix
from tests.support.stored import contents

import flts
from flts.backends.tracking import MlflowTracker
from flts.contracts.errors import BackendUnavailable
from flts.contracts.ports import TrackedRun
from flts.runner.local import RunResult
from flts.settings import Settings, load_settings
from flts.stack.s3 import S3
from flts.stack.server import Server
from flts.wiring import open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytest.importorskip("mlflow")

TRAIN, TEST = split(hourly(300), 60)
HISTORY = hourly(290)
SPEC: Mapping[str, Any] = {
    "dataset": {"targets": ["load"]},
    "task": {"input_length": 12, "horizon": 3},
    "models": {"ridge": {}},
}


@dataclass(frozen=True)
class Twice:
    """One experiment in two places."""

    local: RunResult
    local_objects: Mapping[str, bytes]
    remote: RunResult
    remote_objects: Mapping[str, bytes]
    settings: Settings

    @property
    def client(self) -> MlflowClient:
        return client_of(self.settings)


def client_of(settings: Settings) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=settings.mlflow_uri, registry_uri=settings.mlflow_uri)


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory, s3_server: S3, mlflow_server: Server) -> Iterator[Twice]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        url = s3_prefix(s3_server, monkeypatch)
        monkeypatch.delenv("AWS_ENDPOINT_URL")
        local = load_settings(home=tmp_path_factory.mktemp("local"), tracking="off")
        remote = load_settings(
            home=tmp_path_factory.mktemp("remote"),
            store=url,
            s3_endpoint=s3_server.url,
            tracking="mlflow",
            mlflow_uri=mlflow_server.url,
            environment="elsewhere",
        )
        results = [flts.run(SPEC, train=TRAIN, test=TEST, settings=settings) for settings in (local, remote)]
        objects = [contents(open_store(settings.store_url)) for settings in (local, remote)]
        yield Twice(results[0], objects[0], results[1], objects[1], remote)


def tracked_run(scope: str) -> TrackedRun:
    """A small ended run with one artifact."""
    return TrackedRun(
        scope=scope,
        model_type="RIDGE",
        status="FINISHED",
        tags={"flts.config_hash": "c" * 64, "flts.model_hash": "d" * 64},
        parameters={},
        metrics={"test_rmse": 1.0},
        curve=[],
        dataset={"name": "load", "digest": "d" * 32, "source": "here"},
        bundle=None,
        extra=None,
        columns=["load"],
        artifacts={"scaler/scaler.json": b"{}"},
        started_ms=1_000,
        ended_ms=2_000,
    )


def test_hashes_decision_and_winner_are_the_same(twice: Twice) -> None:
    assert twice.remote.identity == twice.local.identity
    assert twice.remote.decision == twice.local.decision
    assert (twice.remote.winner, twice.remote.promoted) == (twice.local.winner, twice.local.promoted) == ("ridge", True)


def test_every_object_is_the_same_byte_for_byte_except_records_of_time_and_place(twice: Twice) -> None:
    # a seal is named by the digest of a record of time and place, an entry of the index of runs by a time
    here, there = (
        {re.sub(r"/seals/.+|/\d{4}-\d\d/\d\d/\d{4}/\d{8}T[\d.]+Z", "", key) for key in found}
        for found in (twice.local_objects, twice.remote_objects)
    )
    assert here == there
    records = ("runs/", "model-promotion/global/log/")
    same = [key for key in twice.local_objects if not (key.startswith(records) or key.endswith("/current.json"))]
    places = {"processed-data", "specs", "bundles", "models", "model-promotion"}
    assert {key.partition("/")[0] for key in same} == places
    for key in same:
        assert twice.remote_objects[key] == twice.local_objects[key], key


def test_the_server_has_a_finished_run_with_its_metrics_and_its_artifacts(twice: Twice) -> None:
    run = twice.client.get_run(str(twice.remote.run_ids["ridge"]))
    assert run.info.status == "FINISHED"
    assert run.data.tags["flts.config_hash"] == twice.remote.config_hash
    assert run.data.metrics["score"] == twice.remote.decision.ranked[0].score
    assert run.info.artifact_uri.startswith("mlflow-artifacts:")
    found = {artifact.path for artifact in twice.client.list_artifacts(run.info.run_id)}
    assert found == {"RIDGE", "scaler", "preprocess", "plots"}


def test_the_champion_of_the_server_forecasts_as_the_bundle_does(
    twice: Twice, tmp_path: Path, s3_server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    for name, value in s3_server.credentials.items():
        monkeypatch.setenv(name, value)
    version = twice.client.get_model_version_by_alias("flts-global", "champion")
    history = table(HISTORY)
    path = mlflow.artifacts.download_artifacts(
        artifact_uri=f"runs:/{version.run_id}/RIDGE", dst_path=str(tmp_path), tracking_uri=twice.settings.mlflow_uri
    )
    served = mlflow.pyfunc.load_model(path).predict(history.to_pandas())
    expected = flts.load_champion(settings=twice.settings).forecast(history)
    assert list(served["mean"]) == expected["mean"].to_list()


@pytest.mark.long
def test_without_the_server_a_run_ends_with_3_and_the_next_one_completes_what_is_missing(
    twice: Twice, mlflow_server: Server, tmp_path: Path
) -> None:
    for name, part in (("load.csv", TRAIN), ("load_test.csv", TEST)):
        part.write_csv(tmp_path / name)
    (tmp_path / "flts.toml").write_text(
        '[dataset]\nname = "load"\nsource = "."\ntargets = ["load"]\nidentifier = "alone"\n'
        "[task]\ninput_length = 12\nhorizon = 3\n[models.ridge]\n"
    )
    environment = {**os.environ, "FLTS_MLFLOW_URI": mlflow_server.url, "FLTS_TRACKING": "mlflow"}
    environment |= {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}

    def run() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flts", "run"]
        return subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)

    mlflow_server.kill()
    try:
        without = run()
    finally:
        mlflow_server.start()
    assert without.returncode == 3, without.stderr
    assert f"MLflow at {mlflow_server.url} could not" in without.stderr
    assert "Traceback" not in without.stderr
    again = run()
    assert again.returncode == 0, again.stderr
    experiment = twice.client.get_experiment_by_name("flts/alone")
    assert experiment is not None
    (tracked,) = twice.client.search_runs([experiment.experiment_id])
    assert (tracked.info.status, tracked.info.run_name) == ("FINISHED", "RIDGE")


def test_a_run_that_a_dead_process_left_open_is_closed_when_its_candidate_is_logged_again(
    twice: Twice, tmp_path: Path
) -> None:
    client, wanted = twice.client, tracked_run("left-open")
    experiment = client.create_experiment("flts/left-open")
    left = client.create_run(experiment, tags=dict(wanted.tags)).info.run_id
    other = client.create_run(experiment, tags={**wanted.tags, "flts.model_hash": "f" * 64}).info.run_id
    tracker = MlflowTracker(twice.settings.mlflow_uri, tmp_path)
    logged = tracker.log(wanted)
    assert [client.get_run(run).info.status for run in (left, other, logged)] == ["KILLED", "RUNNING", "FINISHED"]


@pytest.mark.long
def test_artifacts_that_the_server_cannot_store_make_the_backend_unavailable(
    twice: Twice, s3_server: S3, tmp_path: Path
) -> None:
    tracker = MlflowTracker(twice.settings.mlflow_uri, tmp_path)
    tracker.prepare("no-artifacts")
    s3_server.kill()
    try:
        with pytest.raises(BackendUnavailable, match="could not log a run"):
            tracker.log(tracked_run("no-artifacts"))
    finally:
        s3_server.start()
        s3_server.make_buckets(["tests"])
