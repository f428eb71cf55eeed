"""`flts.run` from rows to a champion: what it leaves behind, what a failure leaves alone, and that it repeats."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.support.experiments import SMALL
from tests.support.raising import raises
from tests.support.series import hourly, split, table
from tests.support.stored import contents

import flts
from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DataError, MissingExtra
from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Silent, Store
from flts.contracts.records.decision import CandidateRow, UnrankedRow
from flts.contracts.records.run import RunClaim
from flts.contracts.run_index import entry_of
from flts.forecasting.bundle import load_bundle
from flts.models.registry import CANDIDATES
from flts.promotion.log import read_log
from flts.promotion.stage import rollback
from flts.runner.local import RunResult
from flts.runner.reporter import Estimated
from flts.settings import Settings, load_settings
from flts.wiring import locked_context, open_store

TRAIN, TEST = split(hourly(300), 60)
LSTM = SMALL["lstm"]
ENDLESS = {**LSTM, "epochs": 1_000_000}

needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs the extra 'torch'")


def values(models: Mapping[str, Any] | None = None, **tables: Any) -> dict[str, Any]:
    """A Spec that forecasts load three hours ahead, with ridge alone or with these models."""
    given: dict[str, Any] = {
        "dataset": {"targets": ["load"]},
        "task": {"input_length": 12, "horizon": 3},
        "models": {"ridge": {}} if models is None else models,
    }
    return {name: {**given.get(name, {}), **tables.get(name, {})} for name in {*given, *tables}}


def settings(home: Path, **given: Any) -> Settings:
    return load_settings(home=home, **{"tracking": "off", **given})


def run(home: Path, spec: Mapping[str, Any] | None = None, **given: Any) -> RunResult:
    """Run on the shared rows in a folder."""
    options = {name: given.pop(name) for name in ("recompute", "reporter") if name in given}
    return flts.run(spec or values(), train=TRAIN, test=TEST, settings=settings(home, **given), **options)


def store_of(home: Path) -> Store:
    return open_store(settings(home).store_url)


def board(result: RunResult) -> dict[str, CandidateRow]:
    return {row.model: row for row in result.decision.ranked}


@dataclass
class Recorder:
    """A Reporter that remembers what it was told."""

    stages: list[tuple[str, str]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    messages: dict[str, ModelTraining] = field(default_factory=dict)
    results: list[RunResult] = field(default_factory=list)

    def stage(self, name: str, state: str, detail: str = "") -> None:
        self.stages.append((name, state))

    def expect(self, estimated: Estimated) -> None:
        assert set(estimated.seconds) <= {"gru", "lstm", "ridge", "prophet", "automfles", "gbm"}

    def model(self, name: str) -> Silent:
        self.models.append(name)
        return Silent()

    def ended(self, name: str, message: ModelTraining) -> None:
        self.messages[name] = message

    def judged(self, result: RunResult) -> None:
        self.results.append(result)


@dataclass(frozen=True)
class Thrice:
    """The same run three times in one folder: results, what each left in the store, and what the first one told."""

    home: Path
    results: list[RunResult]
    objects: list[dict[str, bytes]]
    reporters: list[Recorder]


@pytest.fixture(scope="module")
def thrice(tmp_path_factory: pytest.TempPathFactory) -> Thrice:
    home = tmp_path_factory.mktemp("a home") / ".flts"
    story = Thrice(home, [], [], [])
    for _ in range(3):
        story.reporters.append(Recorder())
        story.results.append(run(home, reporter=story.reporters[-1]))
        story.objects.append(contents(store_of(home)))
    return story


def test_a_model_that_beats_the_baselines_is_promoted(thrice: Thrice) -> None:
    result = thrice.results[0]
    assert (result.winner, result.promoted, result.repeated, result.reused) == ("ridge", True, False, False)
    assert (result.run, result.scope, result.decision.outcome) == (1, "global", "promote")
    assert (board(result)["ridge"].skill or 0.0) > 0.0
    assert result.champion is not None
    assert result.champion.champion.model_hash == result.identity.model_hashes["ridge"]
    assert result.warnings == ()


def test_the_pointers_name_the_promoted_bundle(thrice: Thrice) -> None:
    result, objects = thrice.results[0], thrice.objects[0]
    for key in (
        layout.root_pointer(),
        layout.scope_pointer("global"),
        layout.config_pointer("global", result.config_hash),
    ):
        pointer = json.loads(objects[key])
        assert pointer["bundle_sha256"] == board(result)["ridge"].bundle_sha256
        assert (pointer["promotion"], pointer["model_type"], pointer["run_id"]) == (1, "RIDGE", None)
        assert pointer["score"] == board(result)["ridge"].score


def test_every_stage_writes_its_part_of_the_run(thrice: Thrice) -> None:
    result, objects = thrice.results[0], thrice.objects[0]
    parts = {key.split("/")[-1]: json.loads(data) for key, data in objects.items() if layout.run_number(key)}
    seal = f"{sha256(objects[f'runs/{result.config_hash}/0001/judge.json'])}.json"
    assert set(parts) == {"claim.json", "preprocess.json", "train-ridge.json", "judge.json", seal}
    assert all(part["run"] == 1 for part in parts.values())
    assert {part["scope"] for name, part in parts.items() if name != seal} == {"global"}
    rests_on = parts["judge.json"]["rests_on"]
    assert rests_on == {key: sha256(objects[key]) for key in rests_on}
    assert {key.split("/")[-1] for key in rests_on} == set(parts) - {"judge.json", seal} | {
        f"{result.config_hash}.json"
    }
    assert parts["claim.json"]["data_hash"] == parts["preprocess.json"]["data_hash"] == result.identity.data_hash
    assert parts["train-ridge.json"]["fitted"] is True
    assert parts["judge.json"]["decision_id"] == result.decision.decision_id
    assert parts["judge.json"]["promotion"] == 1


def test_the_run_leaves_these_objects_and_no_others(thrice: Thrice) -> None:
    result = thrice.results[0]
    identity, decision = result.identity, result.decision.decision_id
    model, bundle = identity.model_hashes["ridge"], board(result)["ridge"].bundle_sha256
    windows = identity.windows_hash
    assert set(thrice.objects[0]) == {
        *(f"processed-data/{identity.data_hash}/{name}" for name in ("train.parquet", "test.parquet", "meta.json")),
        next(key for key in thrice.objects[0] if key.startswith("processed-data/by-input/")),
        f"specs/{identity.config_hash}.json",
        *(
            f"bundles/{bundle}/{name}"
            for name in ("manifest.json", "coefficients.safetensors", "intervals.safetensors")
        ),
        *(f"models/{model}/{name}" for name in ("result.json", "validation.parquet")),
        *(f"models/{model}/windows/{windows}/{name}" for name in ("forecasts.parquet", "result.json")),
        *(f"model-promotion/global/decisions/{decision}{end}" for end in (".json", ".preview.json")),
        "model-promotion/global/log/00000001.json",
        "model-promotion/current.json",
        "model-promotion/global/current.json",
        f"model-promotion/global/{identity.config_hash}/current.json",
        *(f"runs/{identity.config_hash}/0001/{n}.json" for n in ("claim", "preprocess", "train-ridge", "judge")),
        next(key for key in thrice.objects[0] if key.startswith(layout.seals(identity.config_hash, 1))),
        *entries(thrice.objects[0], identity.config_hash, 1),
        layout.decided_by(decision),
        layout.run_index(),
    }


def entries(objects: Mapping[str, bytes], config_hash: str, number: int) -> set[str]:
    """The keys of a run in the index of runs; no mark says that it waits for its judgement."""
    claim = RunClaim.model_validate_json(objects[layout.run_part(config_hash, number, "claim")])
    entry = entry_of(config_hash, claim)
    return {layout.run_entry(entry), layout.run_entry(entry, claim.scope)}


def test_the_result_holds_the_stored_decision(thrice: Thrice) -> None:
    result = thrice.results[0]
    assert thrice.objects[0][result.places["decision"]] == result.decision.to_bytes()
    assert result.places["store"] == store_of(thrice.home).url


def test_the_champion_forecasts_after_the_run(thrice: Thrice) -> None:
    forecast = flts.load_champion(settings=settings(thrice.home)).forecast(table(hourly(280)))
    assert forecast.height == 3
    assert forecast["lower"].lt(forecast["mean"]).all()


def test_a_second_run_changes_nothing_but_its_own_parts_and_its_decision_against_the_champion(thrice: Thrice) -> None:
    first, second = thrice.objects[:2]
    result = thrice.results[1]
    assert (result.reused, result.promoted, result.run) == (True, False, 2)
    assert result.decision.reasons[-1] == "ridge is the champion already"
    assert {key: second[key] for key in first} == first
    decision = result.decision.decision_id
    assert set(second) - set(first) == {
        *(f"runs/{result.config_hash}/0002/{n}.json" for n in ("claim", "preprocess", "train-ridge", "judge")),
        next(key for key in second if key.startswith(layout.seals(result.config_hash, 2))),
        *(f"model-promotion/global/decisions/{decision}{end}" for end in (".json", ".preview.json")),
        *entries(second, result.config_hash, 2),
        layout.decided_by(decision),
    }


def test_a_third_run_changes_nothing_but_its_own_parts(thrice: Thrice) -> None:
    second, third = thrice.objects[1:]
    assert {key: third[key] for key in second} == second
    assert {key.split("/")[0] for key in set(third) - set(second)} == {"runs"}
    assert thrice.results[2].decision == thrice.results[1].decision


def test_the_reporter_is_told_every_stage_and_the_end_of_every_model(thrice: Thrice) -> None:
    first, second, _ = thrice.reporters
    assert first.stages == [
        ("preprocess", "running"),
        ("preprocess", "done"),
        ("evaluate", "running"),
        ("evaluate", "done"),
    ]
    assert second.stages[1] == ("preprocess", "reused")
    for reporter in (first, second):
        assert reporter.models == ["ridge"]
        assert reporter.messages["ridge"].status == "SUCCESS"


def test_a_known_model_on_new_windows_forecasts_again_and_fits_nothing(thrice: Thrice, tmp_path: Path) -> None:
    home = copied(thrice, tmp_path)
    before = contents(store_of(home))
    result = run(home, values(evaluate={"windows": 10}))
    after = contents(store_of(home))
    assert result.identity.model_hashes == thrice.results[0].identity.model_hashes
    assert json.loads(after[layout.run_part(result.config_hash, 1, "train-ridge")])["fitted"] is False
    assert {key for key in set(after) - set(before) if key.startswith("models/")} == {
        layout.forecasts(result.identity.model_hashes["ridge"], result.identity.windows_hash),
        layout.windows_result(result.identity.model_hashes["ridge"], result.identity.windows_hash),
    }
    assert result.decision.windows.count == 10


def copied(thrice: Thrice, folder: Path, run_number: int = 0) -> Path:
    """A folder of its own with what a run had left."""
    home = folder / ".flts"
    store = store_of(home)
    for key, data in thrice.objects[run_number].items():
        store.create(key, data)
    return home


def test_a_recompute_gives_the_same_and_changes_nothing(thrice: Thrice, tmp_path: Path) -> None:
    home = copied(thrice, tmp_path, 1)
    before = contents(store_of(home))
    result = run(home, recompute=True)
    after = contents(store_of(home))
    assert (result.recomputed, result.nondeterministic, result.reused) == ({"ridge": "equal"}, [], False)
    assert {key: after[key] for key in before} == before
    assert {key.split("/")[0] for key in set(after) - set(before)} == {"runs"}


def test_another_scope_has_its_own_champion_and_leaves_the_root_pointer_alone(thrice: Thrice, tmp_path: Path) -> None:
    home = copied(thrice, tmp_path)
    result = run(home, values(dataset={"identifier": "north"}))
    store = store_of(home)
    assert (result.scope, result.promoted, result.reused) == ("north", True, True)
    assert result.config_hash == thrice.results[0].config_hash
    assert json.loads(store.get(layout.scope_pointer("north")) or b"")["scope"] == "north"
    assert store.get(layout.root_pointer()) == thrice.objects[0][layout.root_pointer()]


def test_too_little_skill_promotes_nothing_and_the_run_still_succeeds(thrice: Thrice, tmp_path: Path) -> None:
    home = copied(thrice, tmp_path)
    result = run(home, values(dataset={"identifier": "strict"}, evaluate={"min_skill": 0.999}))
    assert (result.winner, result.promoted, result.champion) == ("ridge", False, None)
    assert not result.decision.gates["min_skill"].passed
    assert read_log(store_of(home), "strict") == []


def test_a_run_after_a_rollback_does_not_undo_it_and_says_that_it_was_promoted_before(
    thrice: Thrice, tmp_path: Path
) -> None:
    home = copied(thrice, tmp_path)
    spec = values(evaluate={"gate": "always", "windows": 20}, task={"input_length": 18})
    promotion = run(home, spec)
    assert (promotion.promoted, promotion.repeated) == (True, False)
    with locked_context(settings(home)) as context:
        rollback(context.store, context.bus, context.clock, "global", "tests")
    again = run(home, spec)
    assert (again.decision.outcome, again.promoted, again.repeated) == ("promote", False, True)
    assert again.champion is not None
    assert (again.champion.number, again.champion.kind) == (3, "rollback")
    assert [entry.number for entry in read_log(store_of(home), "global")] == [1, 2, 3]


def test_unusable_rows_end_the_run_before_it_is_claimed(tmp_path: Path) -> None:
    with raises(DataError, code="test-too-short", found=2, expected=3):
        flts.run(values(), train=TRAIN, test=TEST.head(2), settings=settings(tmp_path))
    assert store_of(tmp_path).list("runs/") == []


def test_a_missing_library_ends_the_run_before_it_is_claimed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "torch" else found(name))
    with raises(MissingExtra, code="missing-extra", extra="torch"):
        run(tmp_path, values({"ridge": {}, "gru": {}}))
    assert store_of(tmp_path).list("runs/") == []


# a candidate that fails


@needs_torch
@pytest.mark.parametrize(
    ("table", "armed", "timeout", "reason"),
    [
        ({**LSTM, "learning_rate": 1e30}, "", 60.0, "TrainingFailed: the loss is not finite after epoch 1"),
        (LSTM, "train.validation.before=kill", 60.0, "TrainingFailed: the training process was killed by SIGKILL"),
        (LSTM, "train.bundle.after=error", 60.0, "TrainingFailed: OSError: failpoint train.bundle.after"),
        (ENDLESS, "", 0.7, "DeadlineExceeded: stopped at the time limit of 0.7 s"),
    ],
    ids=["not finite", "killed", "raises", "hangs"],
)
def test_a_model_that_fails_is_on_the_board_with_its_reason_and_the_others_are_not_affected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: dict[str, Any], armed: str, timeout: float, reason: str
) -> None:
    patient = {"patience": 1_000_000}
    run(tmp_path, values(train=patient, dataset={"identifier": "before"}))  # so that only the other one is in danger
    monkeypatch.setenv("FLTS_FAILPOINTS", armed)
    recorder = Recorder()
    spec = values({"ridge": {}, "lstm": table}, train=patient)
    result = run(tmp_path, spec, train_timeout=timeout, reporter=recorder)
    assert (result.winner, result.promoted) == ("ridge", True)
    (row,) = [row for row in result.decision.candidates if isinstance(row, UnrankedRow)]
    assert (row.model, row.status, row.rank) == ("lstm", "FAILED", None)
    assert str(row.reason).startswith(reason)
    assert (recorder.messages["lstm"].status, recorder.messages["ridge"].status) == ("FAILED", "SUCCESS")
    store = store_of(tmp_path)
    failure = json.loads(store.get(layout.failure(result.config_hash, 1, "lstm")) or b"")
    assert f"{failure['class']}: {failure['reason']}" == row.reason == recorder.messages["lstm"].error
    assert store.get(layout.model_result(result.identity.model_hashes["lstm"])) is None


@needs_torch
def test_a_model_that_failed_can_succeed_in_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = values({"ridge": {}, "lstm": LSTM})
    monkeypatch.setenv("FLTS_FAILPOINTS", "train.result.before=kill")
    first = run(tmp_path, spec)
    assert (first.decision.outcome, first.winner, first.champion) == ("none", None, None)
    assert {row.status for row in first.decision.candidates} == {"FAILED"}
    assert store_of(tmp_path).list(layout.log("global")) == []
    assert store_of(tmp_path).get(layout.root_pointer()) is None
    monkeypatch.delenv("FLTS_FAILPOINTS")
    second = run(tmp_path, spec)
    assert {row.status for row in second.decision.candidates} == {"SUCCESS"}
    assert (second.run, second.promoted) == (2, True)
    sha = board(second)["lstm"].bundle_sha256
    load_bundle(store_of(tmp_path), sha).self_test()


# the same result everywhere

TINY: Mapping[str, Mapping[str, Any]] = {
    "gru": {"hidden_size": 4, "num_layers": 1, "epochs": 2},
    "lstm": {"hidden_size": 4, "num_layers": 2, "epochs": 2},
    "prophet": {},
    "automfles": {},
    "ridge": {},
}
PROGRAM = """
import json, sys
from pathlib import Path
import flts
from flts.settings import load_settings
settings = load_settings(home=Path(sys.argv[2]), tracking="off", jobs=int(sys.argv[3]))
result = flts.run(json.loads(sys.argv[1]), folder=Path(sys.argv[4]), settings=settings)
decision = json.loads(result.decision.to_bytes())
print(json.dumps([result.winner, result.config_hash, dict(result.identity.model_hashes), decision]))
"""


def comparable(key: str, data: bytes) -> object:
    """An object without the moment and the place it was made in."""
    if not key.endswith(".json"):
        return data
    value = json.loads(data)
    if key.startswith("model-promotion/") and key.endswith(("current.json", "log/00000001.json")):
        moments = {"time", "actor", "ts", "entry_sha256", "event_id"}
        return {name: field for name, field in value.items() if name not in moments}
    if key.startswith("models/"):
        return {name: field for name, field in value.items() if name != "made_on"}
    return data


@pytest.mark.parametrize(
    "names", [("gru", "ridge"), pytest.param(tuple(TINY), marks=pytest.mark.long)], ids=["two", "all"]
)
def test_the_same_spec_gives_the_same_objects_in_any_order_of_hashing_and_of_trainers(
    tmp_path: Path, names: Sequence[str]
) -> None:
    models = {
        name: dict(parameters)
        for name, parameters in TINY.items()
        if name in names and all(importlib.util.find_spec(library) for library in CANDIDATES[name].libraries)
    }
    spec = values(
        models,
        dataset={"name": "small", "source": ".", "targets": ["load", "wind"]},
        evaluate={"windows": 6},
        task={"seasons": [24]},
    )
    for name, part in (("small.csv", TRAIN), ("small_test.csv", TEST)):
        part.write_csv(tmp_path / name)
    answers, stores = [], []
    for seed, jobs in (("1", "1"), ("2", "2")):
        home = tmp_path / f"home-{seed}"
        command = [sys.executable, "-c", PROGRAM, json.dumps(spec), str(home), jobs, str(tmp_path)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        answer = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
        answers.append(json.loads(answer.stdout))
        stores.append(contents(store_of(home)))
    assert answers[0] == answers[1]
    winner, _, hashes, decision = answers[0]
    assert winner in models
    assert {row["model"]: row["status"] for row in decision["candidates"]} == dict.fromkeys(models, "SUCCESS")
    assert set(hashes) == set(models)
    one, two = (
        {key: comparable(key, data) for key, data in store.items() if not key.startswith("runs/")} for store in stores
    )
    assert set(one) == set(two)
    assert [key for key in one if one[key] != two[key]] == []
    assert sum(key.endswith("manifest.json") for key in one) == len(models)
