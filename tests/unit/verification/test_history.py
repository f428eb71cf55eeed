"""Every run of a scope with a history is verified: promotions, a champion that stays, a rollback, a repeated run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.support.experiments import write_experiment

import flts
from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.records.run import TrainPart
from flts.settings import Settings, load_settings
from flts.verification.claims import TRUE
from flts.verification.write.folder import FILES
from flts.wiring import existing_store


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A folder in which much has happened."""
    folder = tmp_path_factory.mktemp("history")
    file, settings = write_experiment(folder), load_settings(home=folder / ".flts", tracking="off")

    def run(*overrides: str) -> None:
        flts.run(flts.load_spec(file, overrides=overrides).spec, folder=folder, settings=settings)

    run('evaluate.gate="always"')
    run('evaluate.gate="always"', "models.ridge.alphas=[100.0]")
    run("models.ridge.alphas=[1000.0]")
    flts.rollback(settings=settings, reason="a try")
    run('evaluate.gate="always"', "models.ridge.alphas=[100.0]")
    run("evaluate.min_skill=0.99")
    return settings


def test_every_run_of_a_scope_is_verified(settings: Settings) -> None:
    runs = flts.runs(settings=settings)
    outcomes = [(run.judge.outcome, run.judge.repeated) for run in reversed(runs) if run.judge]
    assert outcomes == [("promote", False), ("promote", False), ("keep", False), ("promote", True), ("keep", False)]
    for run in runs:
        report = flts.verify(run.config_hash, run=run.run, settings=settings)
        assert report.first_false is None, report.first_false
        assert report.exit_code == 0
        assert report.claim("evaluation.decision_id").state == TRUE


def test_a_copy_of_the_folder_gives_the_same_bytes_to_everybody(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the store is damaged, which errors say with the place of the store."""
    copied = load_settings(home=tmp_path / "elsewhere", tracking="off")
    shutil.copytree(settings.home, copied.home)
    run = flts.runs(settings=settings)[0]

    def written(one: Settings) -> list[str]:
        report = flts.verify(run.config_hash, run=run.run, settings=one)
        return [write(report) for write in FILES.values()]

    first = written(settings)
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.chdir(tmp_path)
    assert written(copied) == first
    key = layout.meta(run.claim.data_hash)
    for one in (settings, copied):
        store = existing_store(one)
        data = store.get(key) or b""
        store.replace(key, data[:-1])
    damaged = written(copied)
    assert damaged != first
    assert written(settings) == damaged
    existing_store(settings).replace(key, data)


def test_what_a_run_without_a_promotion_rests_on_is_sealed_by_its_judge(settings: Settings) -> None:
    run = flts.runs(settings=settings)[0]
    assert run.judge is not None
    assert run.judge.outcome == "keep"
    store = existing_store(settings)
    part = TrainPart.model_validate_json(store.get(layout.run_part(run.config_hash, run.run, "train-ridge")) or b"")
    key = layout.model_result(part.model_hash)
    data = store.get(key) or b""
    store.replace(key, canonical_json({**json.loads(data), "chosen": {"alpha": 1.0}}))
    try:
        first = flts.verify(run.config_hash, run=run.run, settings=settings).first_false
    finally:
        store.replace(key, data)
    assert first is not None
    assert first.id == "train.ridge.result"
