"""Embedded MLflow: what is tracked of a run, and that the logged model is the one that is served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from tests.support.raising import raises
from tests.support.series import HOUR, hourly, split, table

import flts
from flts.backends.mlflow_model import signature_of, write_model
from flts.backends.mlflow_reserved import add_run
from flts.backends.tracking import MlflowTracker
from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import BackendUnavailable, StageFailed
from flts.contracts.ports import TrackedRun, experiment_of
from flts.forecasting.bundle import read_bundle
from flts.preprocess.rows import Rows
from flts.promotion.log import read_chain
from flts.promotion.stage import rollback
from flts.runner.judgement import point_tracker
from flts.runner.local import RunResult
from flts.settings import Settings, load_settings
from flts.wiring import locked_context, open_store

if TYPE_CHECKING:
    from mlflow import MlflowClient

mlflow = pytest.importorskip("mlflow")
ErrorCode = pytest.importorskip("mlflow.protos.databricks_pb2").ErrorCode
pytest.importorskip("torch")
pytest.importorskip("statsforecast")

ROWS = hourly(300)
HISTORY = table(hourly(290)).to_pandas()
TINY = {"hidden_size": 4, "num_layers": 1, "epochs": 2}
MODELS: Mapping[str, Mapping[str, Any]] = {
    "ridge": {},
    "lstm": TINY,
    "gru": {**TINY, "learning_rate": 1e30},  # its loss is not finite after one step
    "automfles": {},  # wants two days of history, and there is a gap before the test
}


def spec(*models: str, **tables: Any) -> dict[str, Any]:
    """The values of a Spec on the files of the story."""
    values: dict[str, Any] = {
        "dataset": {"name": "small", "targets": ["load"], "source": "."},
        "task": {"input_length": 12, "horizon": 3, "seasons": [24]},
        "models": {name: dict(MODELS[name]) for name in models},
    }
    return {name: {**values.get(name, {}), **tables.get(name, {})} for name in {*values, *tables}}


@dataclass(frozen=True)
class Registry:
    """What the registry holds at one moment: the version that is champion, and by version the digests of its bundle and
    of the newest log entry that made it champion."""

    bundles: Mapping[str, str]
    champion: str
    entries: Mapping[str, str]


@dataclass(frozen=True)
class Story:
    """What happened in one folder, in this order; `silent` is what a process of its own printed."""

    settings: Settings
    four: RunResult
    two: RunResult
    silent: list[Any]
    other: RunResult
    promoted: Registry
    rolled_back: Registry

    @property
    def client(self) -> MlflowClient:
        """Of the story's database."""
        return client_of(self.settings)

    def run(self, result: RunResult, model: str) -> Any:
        """The tracked run of a model."""
        return self.client.get_run(str(result.run_ids[model]))


def client_of(settings: Settings) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


def registry(settings: Settings) -> Registry:
    client = client_of(settings)
    versions = client.search_model_versions("name = 'flts-global'")
    alias = client.get_model_version_by_alias("flts-global", "champion")
    bundles, entries = (
        {str(v.version): v.tags[f"flts.{name}_sha256"] for v in versions} for name in ("bundle", "entry")
    )
    return Registry(bundles, str(alias.version), entries)


SILENT = """
import json, sys
from pathlib import Path
import flts
from flts.settings import load_settings
folder = Path(sys.argv[1])
settings = load_settings(home=folder / ".flts", tracking="mlflow", environment="tests")
result = flts.run(json.loads(sys.argv[2]), folder=folder, settings=settings)
print(json.dumps([result.run, result.reused, dict(result.run_ids), sorted({"mlflow", "torch"} & set(sys.modules))]))
"""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Four models of which two fail; two of them again, twice; another configuration is promoted; a rollback."""
    folder = tmp_path_factory.mktemp("a folder")
    apart = Rows(ROWS.times + HOUR * 100 * (ROWS.times >= ROWS.times[240]), ROWS.values, ROWS.columns)
    for name, part in zip(("small.csv", "small_test.csv"), split(apart, 60), strict=True):
        part.write_csv(folder / name)
    settings = load_settings(home=folder / ".flts", tracking="mlflow", environment="tests")
    four = flts.run(spec(*MODELS), folder=folder, settings=settings)
    values = spec("ridge", "lstm")
    two = flts.run(values, folder=folder, settings=settings)
    again = [sys.executable, "-c", SILENT, str(folder), json.dumps(values)]
    silent = json.loads(subprocess.run(again, capture_output=True, check=True, text=True).stdout)
    values = spec("ridge", task={"input_length": 18}, evaluate={"gate": "always"})
    other = flts.run(values, folder=folder, settings=settings)
    promoted = registry(settings)
    with locked_context(settings) as context:
        rollback(context.store, context.bus, context.clock, "global", "tests")
        point_tracker(context, read_chain(context.store, "global"))
    return Story(settings, four, two, silent, other, promoted, registry(settings))


def test_every_candidate_has_one_run_that_has_ended_however_often_it_is_run(story: Story) -> None:
    experiment = story.client.get_experiment_by_name("flts/global")
    assert experiment is not None
    runs = list(story.client.search_runs([experiment.experiment_id]))
    states = {(run.data.tags["flts.config_hash"], run.info.run_name): run.info.status for run in runs}
    assert states == {
        (story.four.config_hash, "RIDGE"): "FINISHED",
        (story.four.config_hash, "LSTM"): "FINISHED",
        (story.four.config_hash, "GRU"): "FAILED",
        (story.four.config_hash, "AUTOMFLES"): "KILLED",
        (story.two.config_hash, "RIDGE"): "FINISHED",
        (story.two.config_hash, "LSTM"): "FINISHED",
        (story.other.config_hash, "RIDGE"): "FINISHED",
    }
    assert len(runs) == len(states)


def test_a_run_that_was_deleted_is_not_there_until_it_is_restored(story: Story) -> None:
    run_id, tracker = str(story.four.run_ids["ridge"]), MlflowTracker(story.settings.tracking_uri, Path())
    story.client.delete_run(run_id)
    try:
        assert tracker.look(run_id) is None
    finally:
        story.client.restore_run(run_id)
    assert tracker.look(run_id) is not None


def test_a_run_that_finds_everything_done_imports_neither_mlflow_nor_torch(story: Story) -> None:
    assert story.silent == [2, True, dict(story.two.run_ids), []]


def test_a_failed_run_has_its_reason_and_a_model_that_does_not_apply_its_needs(story: Story) -> None:
    gru, automfles = story.run(story.four, "gru").data.tags, story.run(story.four, "automfles").data.tags
    assert gru["flts.error"] == "TrainingFailed"
    assert "the loss is not finite" in gru["flts.reason"]
    assert automfles["flts.error"] == "NotApplicable"
    assert automfles["flts.reason"] == "needs 48 rows of history, has 12 at the first test origin"


@pytest.mark.parametrize("model", list(MODELS))
def test_a_run_carries_the_hashes_the_version_and_the_environment(story: Story, model: str) -> None:
    tags = story.run(story.four, model).data.tags
    identity = story.four.identity
    assert tags["flts.config_hash"] == identity.config_hash
    assert tags["flts.data_hash"] == identity.data_hash
    assert tags["flts.model_hash"] == identity.model_hashes[model]
    assert tags["flts.version"] == flts.__version__
    assert tags["flts.environment"] == "tests"


@pytest.mark.parametrize("model", list(MODELS))
def test_the_parameters_are_the_models_table_the_task_and_the_sampling(story: Story, model: str) -> None:
    found = story.run(story.four, model).data.params
    expected = {"input_length": "12", "horizon": "3", "seasons": "[24]", "targets": "load", "seed": "42"}
    expected |= {name: str(value) for name, value in MODELS[model].items()}
    assert expected.items() <= found.items()
    assert {"sample_train_rows", "sample_test_rows", "sample_strategy", "sample_seed"} <= set(found)


def test_the_metrics_are_those_of_the_judge(story: Story) -> None:
    for model in ("ridge", "lstm"):
        found, row = story.run(story.four, model).data.metrics, story.four.decision.row(model)
        assert row is not None
        for name in ("rmse", "mae", "mse"):
            assert found[f"test_{name}"] == getattr(row, name)
            assert found[f"test_{name}_units"] == getattr(row.units["load"], name)
        for name in ("score", "rank", "skill", "skill_vs_naive"):
            assert found[name] == getattr(row, name)
        promoted = str(story.four.winner == model).lower()
        assert story.run(story.four, model).data.tags["flts.promoted"] == promoted
    assert story.run(story.four, "gru").data.metrics == {}


def test_losses_are_logged_per_epoch_from_the_first(story: Story) -> None:
    store = open_store(story.settings.store_url)
    result = json.loads(store.get(f"models/{story.four.identity.model_hashes['lstm']}/result.json") or b"")
    for column, name in enumerate(("train_loss", "val_loss")):
        history = story.client.get_metric_history(str(story.four.run_ids["lstm"]), name)
        assert [metric.step for metric in history] == [1, 2]
        assert [metric.value for metric in history] == [losses[column] for losses in result["curve"]]
    assert story.client.get_metric_history(str(story.four.run_ids["ridge"]), "train_loss") == []


@pytest.mark.parametrize("model", ["ridge", "lstm"])
def test_the_artifacts_are_the_bundle_the_scaler_the_preprocessing_and_the_plots(story: Story, model: str) -> None:
    local = Path(story.client.download_artifacts(str(story.four.run_ids[model]), ""))
    files = {str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()}
    kinds = ["forecast", *(["loss_curve"] if model == "lstm" else [])]
    expected = {"scaler/scaler.json", "preprocess/preprocess_config.json", *(f"plots/{kind}.png" for kind in kinds)}
    assert {name for name in files if not name.startswith(model.upper())} == expected
    assert f"{model.upper()}/MLmodel" in files
    assert not any(name.endswith((".pkl", ".pickle", ".pt", ".pth")) for name in files)
    store = open_store(story.settings.store_url)
    row = story.four.decision.row(model)
    assert row is not None
    for name in read_bundle(store, row.bundle_sha256)[1]:
        (found,) = local.rglob(name)
        assert found.read_bytes() == store.get(f"bundles/{row.bundle_sha256}/{name}")
    requirements = (local / model.upper() / "requirements.txt").read_text().split()
    ours = f"flts{'[torch]' if model == 'lstm' else ''}=={flts.__version__}"
    assert sorted(requirements) == [ours, f"mlflow=={mlflow.__version__}"]


def test_the_rows_are_logged_as_an_input(story: Story) -> None:
    (logged,) = story.run(story.four, "ridge").inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("small", story.four.identity.data_hash[:32])
    assert logged.dataset.source == f"processed-data/{story.four.identity.data_hash}/meta.json"
    assert [(tag.key, tag.value) for tag in logged.tags] == [("mlflow.data.context", "training")]


@pytest.fixture
def _asked(story: Story, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """load_model looks at one database for the whole process."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", story.settings.tracking_uri)
    mlflow.set_tracking_uri(story.settings.tracking_uri)
    yield
    mlflow.set_tracking_uri("")


@pytest.mark.usefixtures("_asked")
def test_the_champion_of_the_registry_predicts_what_the_champion_of_the_log_predicts(story: Story) -> None:
    model = mlflow.pyfunc.load_model("models:/flts-global@champion")
    champion = flts.load_champion(settings=story.settings)
    expected = champion.forecast(HISTORY).to_pandas()
    found = model.predict(HISTORY)
    assert list(found.columns) == list(expected.columns)
    assert found["target"].tolist() == expected["target"].tolist()
    assert found["time"].tolist() == expected["time"].dt.tz_localize(None).tolist()
    for name in ("mean", "lower", "upper"):
        assert found[name].tolist() == expected[name].tolist()
    wide = champion.forecast(HISTORY, level=0.95).to_pandas()
    assert model.predict(HISTORY, params={"level": 0.95})["upper"].tolist() == wide["upper"].tolist()


@pytest.mark.usefixtures("_asked")
@pytest.mark.parametrize("model", ["ridge", "lstm"])
def test_every_finished_run_holds_a_model_that_forecasts(story: Story, model: str) -> None:
    found = mlflow.pyfunc.load_model(f"runs:/{story.four.run_ids[model]}/{model.upper()}").predict(HISTORY)
    assert found.shape == (3, 5)
    assert found.notna().all().all()


def test_a_reused_model_in_another_configuration_names_the_run_that_fitted_it(story: Story) -> None:
    for model in ("ridge", "lstm"):
        assert story.run(story.two, model).data.tags["flts.reused_run_id"] == story.four.run_ids[model]
        assert "flts.reused_run_id" not in story.run(story.four, model).data.tags
    assert "flts.reused_run_id" not in story.run(story.other, "ridge").data.tags


def digest_of_entry(story: Story, number: int) -> str:
    """SHA-256 of an entry of the promotion log as it is stored."""
    store = open_store(story.settings.store_url)
    return sha256(store.get(layout.log_entry("global", number)) or b"")


def test_each_promoted_bundle_is_one_version_and_the_alias_follows_the_log_back(story: Story) -> None:
    first, second = (result.decision.ranked[0].bundle_sha256 for result in (story.four, story.other))
    assert story.other.promoted
    one, two, three = (digest_of_entry(story, number) for number in (1, 2, 3))
    assert story.promoted == Registry({"1": first, "2": second}, "2", {"1": one, "2": two})
    assert story.rolled_back == Registry({"1": first, "2": second}, "1", {"1": three, "2": two})


def a_run(**changes: Any) -> TrackedRun:
    """One ended run with nothing special about it."""
    fields: dict[str, Any] = {
        "scope": "global",
        "model_type": "RIDGE",
        "status": "FINISHED",
        "tags": {"flts.reason": "x"},
        "parameters": {"horizon": 3},
        "metrics": {"test_rmse": 0.5},
        "curve": (),
        "dataset": {"name": "small", "digest": "d" * 32, "source": "here"},
        "bundle": None,
        "extra": None,
        "columns": ("load",),
        "artifacts": {},
        "started_ms": 1_000,
        "ended_ms": 2_000,
    }
    return TrackedRun(**{**fields, **changes})


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    """An empty embedded database."""
    folder = tmp_path_factory.mktemp("tracker")
    return MlflowTracker(f"sqlite:///{folder / 'mlflow.db'}", folder / "artifacts")


def opened(tracker: MlflowTracker) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=tracker.uri)


def test_a_run_starts_and_ends_when_the_work_did(tracker: MlflowTracker) -> None:
    info = opened(tracker).get_run(tracker.log(a_run(scope="times"))).info
    assert (info.start_time, info.end_time, info.status) == (1_000, 2_000, "FINISHED")


def test_a_target_may_have_any_name(tracker: MlflowTracker) -> None:
    names = ("load (MW)", "wind%", "a//b", "../x", "日射", "x" * 200)
    metrics = {f"test_rmse_units_{name}": float(number) for number, name in enumerate(names)}
    run = opened(tracker).get_run(tracker.log(a_run(scope="names", metrics=metrics)))
    assert sorted(run.data.metrics.values()) == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert run.data.metrics["test_rmse_units_load _MW_"] == 0.0
    assert run.data.metrics["test_rmse_units_日射"] == 4.0


def test_a_very_long_reason_is_cut(tracker: MlflowTracker) -> None:
    run_id = tracker.log(a_run(scope="long", status="FAILED", tags={"flts.reason": "no " * 10_000}))
    run = opened(tracker).get_run(run_id)
    assert run.info.status == "FAILED"
    assert run.data.tags["flts.reason"].startswith("no no no")


def test_a_run_under_a_reserved_id_is_the_run_that_mlflow_would_have_made(tracker: MlflowTracker) -> None:
    run_id = tracker.reserve()
    assert run_id is not None
    assert tracker.log(a_run(scope="reserved"), run_id) == run_id
    ours, other = (opened(tracker).get_run(name) for name in (run_id, tracker.log(a_run(scope="reserved"))))

    def plain(run: Any) -> str:
        return json.dumps(run.to_dictionary(), sort_keys=True).replace(run.info.run_id, "its id")

    assert plain(ours) == plain(other)
    assert Path(str(ours.info.artifact_uri).removeprefix("file://")).parent.name == run_id


def test_a_run_that_a_killed_process_wrote_in_part_is_completed_under_its_id(tracker: MlflowTracker) -> None:
    run_id, wanted = tracker.reserve(), a_run(scope="in-part", curve=[[0.3, 0.4], [0.2, 0.3]], artifacts={"a": b"a"})
    assert run_id is not None
    client = opened(tracker)
    tracker.prepare("in-part")
    experiment = client.get_experiment_by_name("flts/in-part")
    assert experiment is not None
    add_run(tracker.uri, experiment.experiment_id, str(experiment.artifact_location), run_id, wanted)
    client.log_metric(run_id, "test_rmse", 0.5, timestamp=1_500)
    fresh = MlflowTracker(tracker.uri, tracker._artifacts)
    fresh.prepare("in-part")
    assert client.get_run(run_id).info.status == "KILLED"
    for _ in range(2):
        assert fresh.log(wanted, run_id) == run_id
    assert client.get_run(run_id).info.status == "FINISHED"
    assert [metric.timestamp for metric in client.get_metric_history(run_id, "test_rmse")] == [1_500]
    assert [metric.value for metric in client.get_metric_history(run_id, "val_loss")] == [0.4, 0.3]
    assert [file.path for file in client.list_artifacts(run_id)] == ["a"]
    client.delete_run(run_id)
    assert fresh.log(wanted, run_id) == run_id
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"


def test_the_model_is_the_one_that_mlflow_would_have_saved(tmp_path: Path) -> None:
    bundle, requirements = {"manifest.json": b"{}", "member/weights": b"1234"}, ["flts[torch]==1.0", "drift==2"]
    write_model(tmp_path / "ours", bundle, ("load", "wind"), requirements)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # mlflow asks for an input example
        mlflow.pyfunc.save_model(
            str(tmp_path / "theirs"),
            loader_module="flts.serve.pyfunc",
            data_path=str(tmp_path / "ours" / "data" / "bundle"),
            pip_requirements=list(requirements),
            signature=signature_of(("load", "wind")),
        )

    def content(folder: Path) -> dict[str, Any]:
        files = {str(file.relative_to(folder)): file.read_text() for file in folder.rglob("*") if file.is_file()}
        found = {name: yaml.safe_load(text) if name.endswith("yaml") else text for name, text in files.items()}
        model = yaml.safe_load(files["MLmodel"])
        return {**found, "MLmodel": model | dict.fromkeys(("model_uuid", "utc_time_created"))}

    assert content(tmp_path / "ours") == content(tmp_path / "theirs")


def test_runs_that_a_killed_process_left_open_are_closed_when_the_scope_is_opened_again(
    tracker: MlflowTracker,
) -> None:
    ours = tracker.log(a_run(scope="orphans"))
    client = opened(tracker)
    experiments = {name: client.get_experiment_by_name(f"flts/{name}") for name in ("orphans", "elsewhere")}
    assert experiments["orphans"] is not None
    orphan = client.create_run(experiments["orphans"].experiment_id)
    elsewhere = client.create_run(client.create_experiment("elsewhere"))
    fresh = MlflowTracker(tracker.uri, Path())
    fresh.prepare("orphans")
    states = [client.get_run(run_id).info.status for run_id in (ours, orphan.info.run_id, elsewhere.info.run_id)]
    assert states == ["FINISHED", "KILLED", "RUNNING"]


def test_trainers_that_start_at_once_share_one_experiment(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = mlflow.MlflowClient.get_experiment_by_name

    def late(client: MlflowClient, name: str) -> None:
        """The other trainer makes it after this one has looked."""
        monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", look)
        client.create_experiment(name)

    monkeypatch.setattr(mlflow.MlflowClient, "get_experiment_by_name", late)
    run = opened(tracker).get_run(tracker.log(a_run(scope="raced")))
    shared = opened(tracker).get_experiment_by_name(experiment_of("raced"))
    assert shared is not None
    assert run.info.experiment_id == shared.experiment_id


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("create_experiment", "RESOURCE_ALREADY_EXISTS"),
        ("log_inputs", "BAD_REQUEST"),  # the rows of a run are one dataset, whichever trainer logs them first
        ("create_registered_model", "RESOURCE_ALREADY_EXISTS"),
        ("set_model_version_tag", "BAD_REQUEST"),
        ("set_registered_model_alias", "BAD_REQUEST"),
    ],
)
def test_what_another_process_makes_meanwhile_is_found(
    tracker: MlflowTracker, monkeypatch: pytest.MonkeyPatch, method: str, code: str
) -> None:
    work, first = getattr(mlflow.MlflowClient, method), iter([True])

    def late(*arguments: Any, **named: Any) -> Any:
        """The other process does the same, and this one is told what a database says then."""
        done = work(*arguments, **named)
        if next(first, False):
            raise mlflow.MlflowException("it is there", ErrorCode.Value(code))
        return done

    monkeypatch.setattr(mlflow.MlflowClient, method, late)
    run = a_run(scope=method)
    run_id = tracker.log(run)
    tracker.promote(method, run_id, run.model_type, "b" * 64, "e" * 64)
    inputs = opened(tracker).get_run(run_id).inputs
    assert inputs is not None
    assert [one.dataset.digest for one in inputs.dataset_inputs] == [run.dataset["digest"]]
    assert tracker.champion(method) == {"flts.bundle_sha256": "b" * 64, "flts.entry_sha256": "e" * 64}


def test_a_run_of_another_database_is_left_alone(tracker: MlflowTracker) -> None:
    stranger = "0" * 32
    tracker.annotate(stranger, {"score": 0.5}, {"flts.promoted": "true"})
    tracker.promote("strange", stranger, "RIDGE", "b" * 64, "e" * 64)
    client = opened(tracker)
    assert client.search_registered_models("name = 'flts-strange'") == []


def test_scopes_have_experiments_of_their_own(tracker: MlflowTracker) -> None:
    ids = {scope: tracker.log(a_run(scope=scope)) for scope in ("north", "south")}
    client = opened(tracker)
    for scope, run_id in ids.items():
        experiment = client.get_experiment(client.get_run(run_id).info.experiment_id)
        assert experiment.name == f"flts/{scope}"
        assert str(experiment.artifact_location).endswith(f"/artifacts/{scope}")


def test_a_server_that_does_not_answer_is_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    absent = MlflowTracker("http://127.0.0.1:9", Path())
    with pytest.raises(BackendUnavailable, match=r"MLflow at http://127\.0\.0\.1:9 could not log a run"):
        absent.log(a_run())


def test_nothing_is_reported_to_the_makers_of_mlflow() -> None:
    program = (
        "from pathlib import Path; from flts.backends.tracking import MlflowTracker\n"
        "MlflowTracker('sqlite:///unused.db', Path())\n"
        "import mlflow; from mlflow.telemetry.client import get_telemetry_client\n"
        "print(get_telemetry_client())"
    )
    # without what would tell mlflow that it runs in a test
    keep = ("PATH", "HOME", "VIRTUAL_ENV", "PYTHONPATH", "LANG")
    plain = {name: value for name, value in os.environ.items() if name in keep}
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, env=plain)
    assert answer.stdout.strip() == "None"


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    file.write_text("no database")
    with raises(StageFailed, code="tracker-failed"):
        MlflowTracker(f"sqlite:///{file}", tmp_path).look("0" * 32)


def test_the_folder_of_the_database_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "a?b %2F#"
    folder.mkdir()
    tracker = MlflowTracker(load_settings(home=folder / ".flts").tracking_uri, folder / "artifacts")
    (folder / ".flts").mkdir()
    assert tracker.first_run({"a": "b"}, {}) is None
    run_id = tracker.reserve()
    assert run_id is not None
    tracker.log(a_run(scope="north", artifacts={"a": b"a"}), run_id)
    assert tracker.look(run_id) is not None
    tracker.close()
    assert (folder / ".flts/mlflow.db").exists()
    assert (folder / "artifacts/north" / run_id / "artifacts/a").read_bytes() == b"a"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite://", "sqlite:///:memory:"])
def test_only_a_database_in_a_file_takes_ids(uri: str) -> None:
    assert MlflowTracker(uri, Path()).reserve() is None


PREPARE = (
    "import sys; from pathlib import Path; from flts.backends.tracking import MlflowTracker\n"
    "MlflowTracker(sys.argv[1], Path(sys.argv[2])).prepare(sys.argv[3])"
)


@pytest.mark.long
def test_first_runs_at_once_and_one_that_is_killed_leave_a_database_that_works(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"

    def first(scope: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", PREPARE, f"sqlite:///{file}", str(tmp_path), scope], stderr=subprocess.PIPE
        )

    killed = first("killed")
    while not (tmp_path / "mlflow.db.part").exists():
        assert killed.poll() is None
    killed.kill()
    killed.communicate()
    assert not file.exists()
    started = [first(scope) for scope in ("a", "b", "c")]
    said = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], said
    names = {found.name for found in mlflow.MlflowClient(tracking_uri=f"sqlite:///{file}").search_experiments()}
    assert {"flts/a", "flts/b", "flts/c"} <= names
