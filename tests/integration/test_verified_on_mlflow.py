"""`flts verify` at an MLflow database and at a server: what somebody changed there afterwards is found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.support.experiments import write_experiment

import flts
from flts.settings import Settings, load_settings
from flts.verification.claims import DEPENDS, FALSE, TRUE, UNREACHABLE
from flts.verification.report import Report

if TYPE_CHECKING:
    from mlflow import MlflowClient

pytest.importorskip("mlflow")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=["embedded", "server"])
def settings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A folder in which a run was tracked."""
    folder = tmp_path_factory.mktemp("verified")
    uri = str(request.getfixturevalue("mlflow_server").url) if request.param == "server" else ""
    found = load_settings(home=folder / ".flts", tracking="mlflow", mlflow_uri=uri)
    file = write_experiment(folder)
    spec = flts.load_spec(file, overrides=[f'dataset.identifier="{folder.name}"']).spec
    flts.run(spec, folder=folder, settings=found)
    return found


def client(settings: Settings) -> MlflowClient:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=settings.tracking_uri, registry_uri=settings.tracking_uri)


def tracked(settings: Settings) -> tuple[str, str]:
    """Scope and id of the run."""
    (run,) = flts.runs(settings=settings)
    assert run.judge is not None
    return run.claim.scope, str(run.judge.run_ids["ridge"])


def states(report: Report) -> Mapping[str, str]:
    """The states of everything that MLflow says."""
    return {c.id: c.state for c in report.claims if c.section == "tracking" or c.id == "promotion.witness.tracking"}


def test_what_mlflow_shows_is_what_the_run_recorded(settings: Settings) -> None:
    report, (scope, run_id) = flts.verify(settings=settings), tracked(settings)
    assert set(states(report).values()) == {TRUE}
    assert report.exit_code == 0
    assert report.claim("tracking.ridge.run").found == run_id
    assert report.claim("tracking.ridge.status").found == "FINISHED"
    assert report.claim("tracking.ridge.experiment").found == f"flts/{scope}"
    assert report.claim("promotion.witness.tracking").found == report.claim("promotion.head").found


def status(settings: Settings) -> Callable[[], object]:
    run_id, mlflow = tracked(settings)[1], client(settings)
    mlflow.set_terminated(run_id, "FAILED", end_time=mlflow.get_run(run_id).info.end_time)
    return lambda: mlflow.set_terminated(run_id, "FINISHED", end_time=mlflow.get_run(run_id).info.end_time)


def tag(settings: Settings) -> Callable[[], object]:
    run_id, mlflow = tracked(settings)[1], client(settings)
    before = mlflow.get_run(run_id).data.tags["flts.config_hash"]
    mlflow.set_tag(run_id, "flts.config_hash", "0" * 64)
    return lambda: mlflow.set_tag(run_id, "flts.config_hash", before)


def deleted(settings: Settings) -> Callable[[], object]:
    """MLflow keeps it, so that this can be undone, and shows it to nobody who looks at the experiment."""
    run_id, mlflow = tracked(settings)[1], client(settings)
    mlflow.delete_run(run_id)
    return lambda: mlflow.restore_run(run_id)


def version(settings: Settings) -> Callable[[], object]:
    name, mlflow = f"flts-{tracked(settings)[0]}", client(settings)
    champion = mlflow.get_model_version_by_alias(name, "champion")
    mlflow.set_model_version_tag(name, champion.version, "flts.entry_sha256", "0" * 64)
    return lambda: mlflow.set_model_version_tag(
        name, champion.version, "flts.entry_sha256", champion.tags["flts.entry_sha256"]
    )


@pytest.mark.parametrize(
    ("change", "claim"),
    [
        (status, "tracking.ridge.status"),
        (tag, "tracking.ridge.hashes"),
        (deleted, "tracking.ridge.run"),
        (version, "promotion.witness.tracking"),
    ],
)
def test_what_was_changed_there_is_found(
    settings: Settings, change: Callable[[Settings], Callable[[], object]], claim: str
) -> None:
    undo = change(settings)
    try:
        report = flts.verify(settings=settings)
    finally:
        undo()
    assert report.first_false is not None
    assert report.first_false.id == claim
    assert report.first_false.state == FALSE
    assert not [c.id for c in report.claims if claim in c.rests_on and c.state != DEPENDS]
    assert flts.verify(settings=settings).exit_code == 0


def test_a_tracker_that_is_off_or_another_one_is_unreachable(settings: Settings, tmp_path: Path) -> None:
    for changes in ({"tracking": "off"}, {"mlflow_uri": f"sqlite:///{tmp_path}/other.db"}):
        other = settings.model_copy(update=changes)
        report = flts.verify(settings=other)
        assert report.exit_code == 3
        assert set(states(report).values()) == {UNREACHABLE}
    assert not (tmp_path / "other.db").exists()
