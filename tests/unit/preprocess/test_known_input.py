"""A repeated run reads no rows: the store knows the data_hash of an input. It is a short cut and decides nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.experiments import small_spec
from tests.support.raising import raises
from tests.support.series import hourly, split
from tests.support.stored import contents

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.errors import DamagedObject, DataError
from flts.contracts.failpoints import arm
from flts.contracts.ports import Store
from flts.preprocess.source import RawFile, RawInput
from flts.preprocess.stage import Prepared, known, preprocess

BY_INPUT = "processed-data/by-input/"


@pytest.fixture
def raw(tmp_path: Path) -> RawInput:
    """Two files, 240 rows for train and 60 for test."""
    files = []
    for part, rows in zip(("train", "test"), split(hourly(300), 60), strict=True):
        rows.write_csv(tmp_path / f"{part}.csv")
        files.append(RawFile(f"{part}.csv", tmp_path / f"{part}.csv"))
    return RawInput(*files)


def run(store: Store, raw: RawInput, version: int = 1, **dataset: str) -> Prepared:
    return preprocess(small_spec(dataset={"targets": ["load"], **dataset}), raw, store, version)


def inputs(store: Store) -> list[str]:
    return [key for key in store.list("") if key.startswith(BY_INPUT)]


def test_a_repeated_run_reads_no_rows(raw: RawInput, monkeypatch: pytest.MonkeyPatch) -> None:
    store = memory_store()
    first = run(store, raw)
    before = contents(store)
    (key,) = inputs(store)
    record = json.loads(before[key])
    assert record == {"v": 1, "input_hash": Path(key).stem, "data_hash": first.data_hash}
    monkeypatch.setattr(RawFile, "loaded", lambda self: pytest.fail("a file is read"))
    again = run(store, raw)
    assert (again.data_hash, again.reused, again.meta) == (first.data_hash, True, first.meta)
    assert contents(store) == before


def test_the_same_experiment_written_otherwise_is_read_once_more_and_stored_once(raw: RawInput) -> None:
    store = memory_store()
    first, second = run(store, raw), run(store, raw, step="60min")
    assert (second.data_hash, first.reused, second.reused) == (first.data_hash, False, True)
    assert len(inputs(store)) == 2
    assert len(contents(store)) == 3 + 2


def test_only_the_same_input_is_known(raw: RawInput, tmp_path: Path) -> None:
    store, spec = memory_store(), small_spec()
    assert known(spec, raw, store, 1) is None
    first = preprocess(spec, raw, store, 1)
    before = contents(store)
    found = known(spec, raw, store, 1)
    assert found is not None
    assert (found.data_hash, found.meta) == (first.data_hash, first.meta)
    assert known(small_spec(dataset={"targets": ["wind"]}), raw, store, 1) is not None
    assert known(small_spec(sample={"train_rows": 239}), raw, store, 1) is None
    assert known(spec, raw, store, 2) is None
    with (tmp_path / "test.csv").open("a") as file:
        file.write("2018-02-19 23:00:00,1.0,1.0\n")
    assert known(spec, raw, store, 1) is None
    assert contents(store) == before


@pytest.mark.parametrize("lost", ["meta.json", "train.parquet", "test.parquet", ".json"])
def test_what_is_lost_is_made_again_from_the_rows(raw: RawInput, lost: str) -> None:
    whole = memory_store()
    first = run(whole, raw)
    store = memory_store()
    for key, data in contents(whole).items():
        if not (key.endswith(lost) and (lost != ".json" or key.startswith(BY_INPUT))):
            store.create(key, data)
    again = run(store, raw)
    assert (again.data_hash, again.reused) == (first.data_hash, lost == ".json")
    assert contents(store) == contents(whole)


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda record: b"{", "record-damaged"),
        (lambda record: json.dumps({**record, "data_hash": "x"}).encode(), "record-damaged"),
        (lambda record: json.dumps({**record, "input_hash": "0" * 64}).encode(), "record-misplaced"),
        (lambda record: json.dumps({**record, "v": 2}).encode(), "record-newer"),
    ],
)
def test_a_damaged_record_is_refused_and_named(raw: RawInput, damage: object, code: str) -> None:
    store = memory_store()
    run(store, raw)
    (key,) = inputs(store)
    assert callable(damage)
    store.replace(key, damage(json.loads(store.get(key) or b"")))
    with raises(DamagedObject, code=code, key=key):
        run(store, raw)


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_crash_at_the_record_costs_one_more_reading(raw: RawInput, side: str) -> None:
    whole, store = memory_store(), memory_store()
    run(whole, raw)
    arm(f"preprocess.input.{side}=error")
    with pytest.raises(OSError, match=f"failpoint preprocess.input.{side}"):
        run(store, raw)
    arm("")
    assert run(store, raw).reused
    assert contents(store) == contents(whole)


def test_rows_that_cannot_be_used_are_not_remembered(raw: RawInput) -> None:
    store = memory_store()
    with raises(DataError, code="test-overlaps-train"):
        run(store, RawInput(raw.train, raw.train))
    assert not contents(store)


def test_the_key_of_the_record_is_the_hash_that_it_repeats() -> None:
    assert layout.identity(layout.known_input("a" * 64)) == {"input_hash": "a" * 64}
