"""Services on real servers give the results of one machine, byte for byte, and survive failing servers."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from tests.support import ROOT
from tests.support.experiments import RIDGE, SMALL_GRU, write_experiment
from tests.support.processes import Processes, processes
from tests.support.servers import AWAY, kafka_bus, s3_prefix
from tests.support.services import TEST, wait_until
from tests.support.stored import results

import flts
from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.messages import InferenceData, ModelSelected, PerformanceEval
from flts.promotion.log import read_log
from flts.settings import load_settings
from flts.spec.sources import load_spec
from flts.stack.kafka import durable_kafka, quick_kafka
from flts.stack.s3 import S3
from flts.stack.server import Server
from flts.wiring import open_bus, open_store


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """flts.toml with its rows beside it."""
    return write_experiment(tmp_path, RIDGE + SMALL_GRU)


@pytest.fixture
def store_url(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty place on S3, with the right to it in the environment."""
    return s3_prefix(s3_server, monkeypatch)


@pytest.fixture(params=["quick", pytest.param("durable", marks=pytest.mark.long)])
def broker(request: pytest.FixtureRequest, tmp_path: Path, s3_server: S3) -> Iterator[Server]:
    """A broker of this test's own: topics have fixed names."""
    folder = tmp_path / "broker"
    folder.mkdir()
    cluster = tmp_path.name.replace("_", "-")
    with (
        quick_kafka(folder) if request.param == "quick" else durable_kafka(folder, s3_server, cluster=cluster) as server
    ):
        yield server


@pytest.fixture
def running(tmp_path: Path, broker: Server, store_url: str) -> Iterator[Processes]:
    """Processes on the broker and the store."""
    with processes(tmp_path / "logs", {"FLTS_BUS": broker.url, "FLTS_STORE": store_url}) as those:
        yield those


def alone(file: Path, home: Path) -> Mapping[str, bytes]:
    """What `flts run --recompute` comes to in a folder of its own."""
    loaded = load_spec(file, environ={})
    flts.run(loaded.spec, folder=loaded.folder, settings=load_settings(home=home, tracking="off"), recompute=True)
    return results(open_store((home / "objects").as_uri()))


def test_a_run_through_services_equals_the_one_on_one_machine(
    running: Processes, experiment: Path, store_url: str, tmp_path: Path
) -> None:
    workers = running.workers("ridge,gru")
    claim = running.claim(experiment)
    store = open_store(store_url)
    running.until_judged(store, claim)
    assert results(store) == alone(experiment, tmp_path / "alone")
    assert len(read_log(store, "global")) == 1
    for worker in workers.values():
        assert worker.stop() == 0
        assert worker.said("service_stopped")
    # what the services said, on the broker and in their logs, is what the store holds
    logs = [option for worker in workers.values() if worker.said("train_complete") for option in ("--log", worker.log)]
    verified = running.run("verify", "--json", *map(str, logs), "--require", "chain", "--require", "tracking")
    report = json.loads(verified.stdout)
    assert verified.returncode == 1  # MLflow is required, and off
    states = {claim["id"]: claim["state"] for claim in report["claims"]}
    assert {states[name] for name in states if name.startswith("chain.")} == {"true"}
    assert states["promotion.witness.message"] == "true"
    assert {states[f"logs.{model}.train_complete"] for model in ("ridge", "gru")} == {"true"}
    assert not {"false", "depends on a false one", "unreachable"} & {*states.values()}
    # a person decides otherwise, and every server hears of it
    assert running.run("promotions", "promote", claim["config_hash"], "gru").returncode == 0
    bus = open_bus(load_settings(bus=running.environment["FLTS_BUS"]))
    told = [ModelSelected.parse(record.value) for record in bus.records(ModelSelected.topic)]
    bus.close()
    once = {message.event_id: message for message in told}.values()  # a message may be sent again
    assert [(message.promotion, message.kind, message.model_type) for message in once] == [
        (1, "promote", "RIDGE"),
        (2, "manual", "GRU"),
    ]


@pytest.mark.long
def test_the_run_of_the_first_system_equals_the_one_on_one_machine_with_its_runs_in_mlflow(
    tmp_path: Path, s3_server: S3, mlflow_server: Server, lte: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = s3_prefix(s3_server, monkeypatch)
    file = ROOT / "examples" / "lte" / "flts.toml"
    (tmp_path / "broker").mkdir()
    with quick_kafka(tmp_path / "broker") as broker:
        environment = {
            "FLTS_BUS": broker.url,
            "FLTS_STORE": url,
            "FLTS_TRACKING": "mlflow",
            "FLTS_MLFLOW_URI": mlflow_server.url,
        }
        with processes(tmp_path / "logs", environment) as running:
            for model in ("gru", "lstm", "prophet"):
                running.worker("train", model)
            running.worker("evaluate")
            claim = running.claim(file, "--source", str(lte), "--set", "dataset.identifier=seed")
            store = open_store(url)
            running.until_judged(store, claim)
    assert alone_in(file, lte, tmp_path) == results(store, "seed")
    (entry,) = read_log(store, "seed")
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server.url)
    (found,) = client.search_experiments(filter_string="name = 'flts/seed'")
    runs = client.search_runs([found.experiment_id])
    assert sorted((run.info.run_name, run.info.status) for run in runs) == [
        ("GRU", "FINISHED"),
        ("LSTM", "FINISHED"),
        ("PROPHET", "FINISHED"),
    ]
    assert client.get_model_version_by_alias("flts-seed", "champion").run_id == entry.champion.run_id
    (champion,) = (run for run in runs if run.info.run_id == entry.champion.run_id)
    assert champion.data.metrics["rank"] == 1.0
    assert champion.data.tags["flts.promoted"] == "true"


def alone_in(file: Path, lte: Path, folder: Path) -> Mapping[str, bytes]:
    overrides = ["dataset.identifier=seed"]
    loaded = load_spec(file, environ={}, source=str(lte), overrides=overrides)
    home = folder / "alone"
    flts.run(loaded.spec, folder=loaded.folder, settings=load_settings(home=home, tracking="off"))
    return results(open_store((home / "objects").as_uri()), "seed")


def test_a_batch_on_the_bus_is_answered_from_the_store(
    running: Processes, experiment: Path, store_url: str, broker: Server
) -> None:
    running.workers()
    store = open_store(store_url)
    running.until_judged(store, running.claim(experiment, "--models", "ridge", "--claim-test"))
    bus = open_bus(load_settings(bus=broker.url, kafka_replication=1))
    try:
        wait_until(lambda: bool(bus.records(PerformanceEval.topic)), "the answer")
        answer = PerformanceEval.parse(bus.records(PerformanceEval.topic)[0].value)
        claim = InferenceData.parse(bus.records(InferenceData.topic)[0].value)
    finally:
        bus.close()
    assert (answer.rows, answer.input_event_id) == (len(TEST), claim.event_id)
    lines = (store.get(answer.log_object_key) or b"").splitlines()
    assert len(lines) == answer.forecasts == (len(TEST) - 12 + 1) * 3
    assert json.loads(lines[0])["promotion"] == 1
    assert sha256(store.get(claim.key_in_store) or b"") == claim.sha256


@pytest.mark.long
@pytest.mark.parametrize("broker", ["durable"], indirect=True)
def test_the_next_trainer_finishes_the_work_of_a_killed_one(
    running: Processes, experiment: Path, store_url: str, tmp_path: Path
) -> None:
    store = open_store(store_url)
    running.worker("evaluate")
    trainer = running.worker("train", "ridge,gru")
    claim = running.claim(experiment)
    wait_until(lambda: trainer.said("train_start"), "a fit")
    trainer.kill()
    running.worker("train", "ridge,gru")
    running.until_judged(store, claim)
    assert results(store) == alone(experiment, tmp_path / "alone")


@pytest.mark.long
@pytest.mark.parametrize("broker", ["durable"], indirect=True)
@pytest.mark.parametrize(
    ("gone", "seconds"),
    [
        ("store", AWAY),
        ("broker", 0.0),  # until somebody notices
        ("broker", AWAY),
    ],
)
def test_services_wait_for_a_server_that_is_away(
    gone: str,
    seconds: float,
    tmp_path: Path,
    experiment: Path,
    s3_server: S3,
    broker: Server,
    running: Processes,
    store_url: str,
) -> None:
    """The broker keeps its records on the same S3, so both are away with it."""
    store = open_store(store_url)
    workers = running.workers("ridge,gru")
    server = broker if gone == "broker" else s3_server
    claim = running.claim(experiment, "--claim-test")
    wait_until(lambda: workers["train"].said("train_start"), "a fit")
    server.kill()
    try:
        time.sleep(seconds)
        wait_until(lambda: any(trouble(worker.events) for worker in workers.values()), "somebody to notice")
    finally:
        server.start()
    running.until_judged(store, claim)
    with closing(kafka_bus(broker)) as bus:
        wait_until(lambda: bool(bus.records(PerformanceEval.topic)), "the rows that wait for a forecast")
    assert results(store) == alone(experiment, tmp_path / "alone")
    assert all(worker.process.poll() is None for worker in workers.values())
    assert not any(worker.said("dead_letter") for worker in workers.values())


def trouble(events: list[dict[str, object]]) -> bool:
    return any(event["event"] in {"backend_lost", "retry_scheduled"} for event in events)


@pytest.mark.parametrize("broker", ["quick"], indirect=True)
def test_a_stopped_fit_ends_its_child_and_is_done_again(running: Processes, experiment: Path, store_url: str) -> None:
    running.environment = dict(running.environment) | {"FLTS_GRACE": "0.2"}
    trainer = running.worker("train", "gru")
    claim = running.claim(
        experiment, "--models", "gru", "--set", "models.gru.epochs=100000", "--set", "train.patience=100000"
    )
    wait_until(lambda: trainer.said("train_start"), "the fit")
    assert trainer.stop() == 0
    store = open_store(store_url)
    assert not store.exists(layout.failure(claim["config_hash"], 1, "gru"))
    again = running.worker("train", "gru")
    wait_until(lambda: again.said("train_start"), "the fit to begin again")


@pytest.mark.parametrize("broker", ["quick"], indirect=True)
@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({"FLTS_STORE": ""}, 2, "a service shares its store with others: set store"),
        ({"FLTS_BUS": "memory://"}, 2, "a service shares its bus with others: set bus"),
        ({"FLTS_PROBE_HOST": "192.0.2.1"}, 2, "probes cannot listen on 192.0.2.1"),
        ({"AWS_SECRET_ACCESS_KEY": "not-the-key"}, 2, "AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_service_that_cannot_start_says_why_in_one_message(
    running: Processes, experiment: Path, wrong: Mapping[str, str], code: int, said: str
) -> None:
    running.environment = dict(running.environment) | dict(wrong)
    command = ("preprocess", str(experiment)) if "AWS_SECRET_ACCESS_KEY" in wrong else ("worker", "evaluate")
    done = running.run(*command)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
