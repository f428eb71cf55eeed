"""The parts of a run joined into one record, nothing added."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.experiments import small_experiment
from tests.support.kept import kept_runs
from tests.support.raising import raises
from tests.support.stored import MOMENT, Watched, as_json, golden_store, put_claim

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import canonical_json
from flts.contracts.errors import DamagedObject, UsageError
from flts.contracts.ports import DatedStore, Store
from flts.contracts.records.base import require_record
from flts.contracts.records.data import ProcessedMeta
from flts.contracts.records.model import ModelResult
from flts.contracts.records.run import JudgePart, RunClaim
from flts.contracts.runs import numbers
from flts.report.evidence import OTHERS, chosen_run, configurations, newest_first, resolve, run_manifest, run_record

A, B, C = "ab" * 32, "ab" * 16 + "cd" * 16, "ef" * 32


def claim(store: Store, config_hash: str, run: int, started: str = "2026-01-01T00:00:00+00:00") -> None:
    """A run and the Spec it is of."""
    store.create(layout.spec(config_hash), b"{}")
    record = RunClaim(
        run=run,
        scope="global",
        environment="tests",
        data_hash="d" * 64,
        recompute=False,
        promotion=0,
        flts="0",
        started=started,
        claimed_by="tests",
    )
    store.create(layout.run_part(config_hash, run, "claim"), record.to_bytes())


def judged(store: Store, config_hash: str, run: int) -> JudgePart:
    """The judgement of a run."""
    part = JudgePart(
        run=run,
        scope="global",
        environment="tests",
        decision_id="0" * 64,
        outcome="keep",
        repeated=False,
        promotion=None,
        run_ids={},
        ended=MOMENT,
    )
    store.create(layout.run_part(config_hash, run, "judge"), part.to_bytes())
    return part


@pytest.fixture
def store() -> DatedStore:
    store = memory_store()
    claim(store, A, 1, "2026-01-01T00:00:00+00:00")
    claim(store, A, 2, "2026-01-03T00:00:00+00:00")
    claim(store, B, 1, "2026-01-02T00:00:00+00:00")
    claim(store, C, 1, "2026-01-01T12:00:00+00:00")
    return store


class Counted(Watched):
    """A store that says when its objects were written, and counts what is read."""

    def __init__(self, store: DatedStore) -> None:
        super().__init__(store)
        self.dated = store.dated


@pytest.mark.parametrize("runs", [10, 1000])
def test_only_the_runs_that_are_shown_are_read_however_many_there_are(tmp_path: Path, runs: int) -> None:
    store, hashes = kept_runs(tmp_path, runs)
    counted = Counted(store)
    assert [row.config_hash for row in newest_first(counted, 3)] == hashes[:-4:-1]
    assert len(counted.read) == 1 + 3 + 3, "whether there is an index, and a claim and a judgement each"
    assert chosen_run(counted, None, None) == (hashes[-1], 1)
    assert len(counted.read) == 1 + 3 + 3 + 1 + 1
    assert counted.listed == []


def test_a_copy_of_a_store_has_the_same_newest_runs(tmp_path: Path) -> None:
    copied = datetime(2027, 1, 1, tzinfo=UTC)
    store, hashes = kept_runs(tmp_path, 10, copied)
    later = copied.timestamp() + 3600
    os.utime(tmp_path / layout.run_part(hashes[4], 1, "claim"), (later, later))
    assert [row.config_hash for row in newest_first(store, 3)] == hashes[:-4:-1]


@pytest.mark.parametrize("seed", range(10))
def test_the_newest_runs_are_found_whenever_their_claims_were_written(seed: int) -> None:
    draw, store = random.Random(seed), memory_store()  # noqa: S311 - no secret
    written: dict[str, datetime] = {}
    for number in range(40):
        began = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=draw.randrange(20))
        claim(store, (A, B, C)[number % 3], number + 1, began.isoformat())
        key = layout.run_part((A, B, C)[number % 3], number + 1, "claim")
        written[key] = began + timedelta(minutes=draw.choice([0, 1, draw.randrange(30)]))
    dated = Counted(store)
    dated.dated = lambda prefix, ending="": {key: at for key, at in written.items() if key.startswith(prefix)}
    every = newest_first(dated)
    assert [row.claim.started for row in every] == sorted((row.claim.started for row in every), reverse=True)
    assert len(every) == 40
    for most in (1, 5, 39):
        assert newest_first(dated, most) == every[:most]


def test_every_configuration_that_was_run_is_listed_once(store: Store) -> None:
    assert configurations(store) == sorted([A, B, C])
    assert configurations(memory_store()) == []


@pytest.mark.parametrize("beside", [f"{A}.json.bak", f"{A} copy.json", f"{A[:-1]}.json", ".DS_Store", f"old/{A}.json"])
def test_what_lies_beside_the_specs_is_no_configuration(beside: str) -> None:
    store = memory_store()
    claim(store, A, 1)
    store.replace(f"specs/{beside}", b"x")
    assert configurations(store) == [A]
    assert resolve(store, A[:12]) == A


def test_a_configuration_is_found_without_listing_all_runs(store: Store) -> None:
    class Narrow(Watched):
        def list(self, prefix: str) -> Sequence[str]:
            assert not "runs/".startswith(prefix), "listed every part of every run"
            return super().list(prefix)

    narrow = Narrow(store)
    assert resolve(narrow, A[:33]) == A
    with raises(UsageError, code="config-unknown"):
        resolve(narrow, "0")
    experiment, real = small_experiment()
    config_hash = experiment.identity.config_hash
    put_claim(real, experiment)
    real.create(layout.spec(config_hash), canonical_json(experiment.spec.identity()))
    assert run_record(Narrow(real), config_hash, 1).claim.run == 1


@pytest.mark.parametrize(("prefix", "found"), [("e", C), (C, C), (A, A), (A[:33], A), ("ab" * 16 + "c", B)])
def test_a_unique_prefix_of_a_hash_is_enough(store: Store, prefix: str, found: str) -> None:
    assert resolve(store, prefix) == found


@pytest.mark.parametrize(
    ("prefix", "code"),
    [
        ("ab", "config-ambiguous"),
        ("", "config-ambiguous"),
        ("0", "config-unknown"),
        ("../", "config-unknown"),
        ("zz", "config-unknown"),
    ],
)
def test_a_prefix_that_fits_several_hashes_or_none_is_refused_with_the_valid_ones(
    store: Store, prefix: str, code: str
) -> None:
    with raises(UsageError, code=code, prefix=prefix) as caught:
        resolve(store, prefix)
    assert (A if prefix == "ab" else C)[:12] in str(caught.value)
    assert "memory:///" in str(caught.value)


def test_only_who_names_no_configuration_means_the_newest_run(store: DatedStore) -> None:
    newest = newest_first(store)[0]
    assert chosen_run(store, None, None) == (newest.config_hash, newest.run)
    with raises(UsageError, code="config-ambiguous"):  # a shell variable that is not set
        chosen_run(store, "", None)


def test_a_configuration_without_a_run_is_named() -> None:
    store, config_hash = memory_store(), "ab" * 32
    store.create(layout.spec(config_hash), b"{}")
    with raises(UsageError, code="no-runs") as refused:
        chosen_run(store, config_hash[:8], None)
    assert config_hash[:12] in str(refused.value)


def test_a_number_under_which_any_part_lies_is_a_run(store: Store) -> None:
    judged(store, A, 3)
    for number in range(3, 12):
        claim(store, C, number)
    assert numbers(store, A) == [1, 2, 3]
    assert numbers(store, C) == [1, *range(3, 12)]
    assert numbers(store, "0" * 64) == []


def test_a_record_joins_all_parts_of_a_run_and_the_objects_that_they_name() -> None:
    golden = golden_store()
    shown = 0
    for row in newest_first(golden):
        record = run_manifest(golden, row.config_hash, row.run).model_dump(mode="json", by_alias=True)
        folder = f"{layout.runs(row.config_hash)}{row.run:04d}/"
        parts = {key.removeprefix(folder).removesuffix(".json"): as_json(golden, key) for key in golden.list(folder)}
        judge, scope = parts.get("judge"), parts["claim"]["scope"]
        meta = require_record(golden, layout.meta(parts["claim"]["data_hash"]), ProcessedMeta)
        models = {name.removeprefix("train-"): part for name, part in parts.items() if name.startswith("train-")}
        results = {
            name: require_record(golden, layout.model_result(part["model_hash"]), ModelResult)
            for name, part in models.items()
        }
        assert record == {
            "v": 1,
            "config_hash": row.config_hash,
            "run": row.run,
            "claim": parts["claim"],
            "spec": as_json(golden, layout.spec(row.config_hash)),
            "data": meta.model_dump(mode="json"),
            "preprocess": parts.get("preprocess"),
            "models": models,
            "others": [],
            "results": {name: result.model_dump(mode="json") for name, result in results.items()},
            "sent": [],
            "failures": {
                name.removeprefix("failures/"): part for name, part in parts.items() if name.startswith("failures/")
            },
            "judge": judge,
            "decision": {**as_json(golden, layout.decision(scope, judge["decision_id"])), "v": 2, "look": None}
            if judge
            else None,
        }
        shown += 1
    assert shown >= 2


def test_a_run_that_is_not_judged_yet_has_no_judge_and_no_decision() -> None:
    experiment, store = small_experiment()
    put_claim(store, experiment)
    record = run_record(store, experiment.identity.config_hash, 1)
    assert (record.judge, record.decision, record.preprocess, record.spec) == (None, None, None, None)
    assert (record.models, record.failures) == ({}, {})
    assert record.data is not None


@pytest.mark.parametrize("left", [None, b"{", b'{"v": 1}'])
def test_a_judged_run_with_an_absent_or_damaged_decision_is_an_error_that_advises_no_deletion(
    left: bytes | None,
) -> None:
    experiment, store = small_experiment()
    put_claim(store, experiment)
    config_hash = experiment.identity.config_hash
    part = judged(store, config_hash, 1)
    key = layout.decision("global", part.decision_id)
    if left is not None:
        store.create(key, left)
    with raises(DamagedObject, code="object-missing" if left is None else "record-damaged", key=key) as caught:
        run_record(store, config_hash, 1)
    assert "restore it from a backup" in str(caught.value)


def test_a_damaged_part_names_its_key_and_its_field(store: Store) -> None:
    key = layout.run_part(A, 1, "claim")
    store.replace(key, json.dumps({**json.loads(store.get(key) or b""), "promotion": -1}).encode())
    with raises(DamagedObject, code="record-damaged", key=key, fields=("promotion",)):
        run_record(store, A, 1)


def test_damage_is_collected_where_somebody_takes_it(store: Store) -> None:
    part = judged(store, A, 1)
    store.replace(layout.spec(A), b"{")
    store.create(layout.run_part(A, 1, "train-ridge"), b"[]")
    damaged: list[DamagedObject] = []
    record = run_record(store, A, 1, damaged=damaged)
    assert (record.spec, record.models, record.judge, record.decision) == (None, {}, part, None)
    assert {error.data["key"]: error.code for error in damaged} == {
        layout.spec(A): "record-damaged",
        layout.run_part(A, 1, "train-ridge"): "record-damaged",
        layout.decision("global", part.decision_id): "object-missing",
    }


def test_a_manifest_holds_the_newest_other_runs() -> None:
    experiment, store = small_experiment()
    for number in range(1, OTHERS + 4):
        put_claim(store, experiment, number)
    config_hash = experiment.identity.config_hash
    store.replace(layout.run_part(config_hash, 50, "claim"), b"{")
    newest = OTHERS + 3
    for run, oldest in ((1, 4), (newest, 3)):
        others = [other.run for other in run_manifest(store, config_hash, run).others]
        assert others == [number for number in range(oldest, newest + 1) if number not in {50, run}]


def test_a_run_that_has_lost_its_claim_is_damaged_and_nothing_else(store: Store) -> None:
    judged(store, A, 3)
    key = layout.run_part(A, 3, "claim")
    with raises(DamagedObject, code="object-missing", key=key) as caught:
        run_record(store, A, 3)
    assert "makes it again" in str(caught.value)
    assert "recompute" not in str(caught.value)


def test_a_folder_that_is_not_a_number_is_no_run(store: DatedStore) -> None:
    before = newest_first(store)
    for folder in ("notes", "0000", "007", "-001"):
        store.create(f"{layout.runs(A)}{folder}/claim.json", b"{}")
    assert numbers(store, A) == [1, 2]
    assert newest_first(store) == before


def test_a_run_whose_model_no_package_provides_is_shown_with_its_spec_as_stored() -> None:
    experiment, store = small_experiment()
    put_claim(store, experiment)
    spec = {**experiment.spec.identity(), "models": {"gone": {"rows": 24}}}
    store.create(layout.spec(experiment.identity.config_hash), canonical_json(spec))
    assert run_record(store, experiment.identity.config_hash, 1).spec == spec


@pytest.mark.parametrize("stored", [b"{", b"[]", b'{"a":NaN}'])
def test_a_stored_spec_that_is_no_json_object_is_damaged(store: Store, stored: bytes) -> None:
    key = layout.spec(A)
    store.replace(key, stored)
    with raises(DamagedObject, code="record-damaged", key=key):
        run_record(store, A, 1)


def test_an_unknown_run_is_refused_with_the_valid_numbers(store: Store) -> None:
    with raises(UsageError, code="run-unknown", config_hash=A, run=7, valid=["1", "2"]):
        run_record(store, A, 7)


def test_runs_of_all_configurations_are_listed_newest_first(store: DatedStore) -> None:
    judge = judged(store, B, 1)
    rows = newest_first(store)
    assert [(row.config_hash, row.run) for row in rows] == [(A, 2), (B, 1), (C, 1), (A, 1)]
    assert [row.judge for row in rows] == [None, judge, None, None]
    assert rows[0].claim.started == "2026-01-03T00:00:00+00:00"
