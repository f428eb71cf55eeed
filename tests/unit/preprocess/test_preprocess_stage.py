"""The stage stores rows once under their data_hash, and damaged objects are never used."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support.experiments import small_spec
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.series import split as split_tables

from flts.backends.store import memory_store
from flts.contracts import events, layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.errors import DamagedObject, DataError, Plain
from flts.contracts.failpoints import arm
from flts.contracts.ports import Store
from flts.contracts.records.data import Absent
from flts.preprocess.identity import raw_digests
from flts.preprocess.parquet import rows_from_parquet, rows_to_parquet
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawInput, RawTable
from flts.preprocess.stage import Prepared, load_dataset, preprocess
from flts.spec.lineage import data_fields
from flts.spec.resolved import resolve

ROWS = hourly(400)


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """The events of this test as JSON lines; events are off afterwards."""
    stream = io.StringIO()
    events.configure("json", stream)
    yield stream
    events.configure("off")


@pytest.fixture
def store() -> Store:
    return memory_store()


def two_files(rows: Rows = ROWS, test: int = 100, skip: int = 0) -> RawInput:
    """Train and test tables; `skip` rows between them are missing."""
    train, last = split_tables(rows, test)
    return RawInput(RawTable("train", train), RawTable("test", last[skip:]))


def one_file(rows: Rows = ROWS) -> RawInput:
    return RawInput(RawTable("rows", table(rows)), None)


def prepare(store: Store, raw: RawInput | None = None, **tables: Any) -> Prepared:
    return preprocess(small_spec(**tables), raw or two_files(), store, version=1)


def made_of(prepared: Prepared) -> dict[str, Any]:
    """What the data_hash of stored rows is made of."""
    return prepared.meta.made_of.model_dump(mode="json")


def everything(store: Store) -> dict[str, bytes | None]:
    return {key: store.get(key) for key in store.list("")}


def logged(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def with_cells(rows: Rows, part: Any, column: int, value: float) -> Rows:
    values = rows.values.copy()
    values[part, column] = value
    return replace(rows, values=values)


def test_the_stage_stores_three_objects_under_their_data_hash_and_what_it_read(store: Store) -> None:
    raw, spec = two_files(), small_spec()
    prepared = preprocess(spec, raw, store, version=1)
    fields = data_fields(resolve(spec, prepared.meta), raw_digests(raw, "time"), 1)
    assert prepared.data_hash == digest(fields)
    assert not prepared.reused
    keys = [name(prepared.data_hash) for name in (layout.meta, layout.test_rows, layout.train_rows)]
    (known,) = [key for key in store.list("") if "by-input" in key]
    assert store.list("") == sorted([known, *keys])
    meta = store.get(layout.meta(prepared.data_hash))
    assert meta is not None
    assert (prepared.sha256, prepared.size) == (sha256(meta), len(meta))
    assert meta == prepared.meta.to_bytes()
    assert made_of(prepared) == fields


def test_meta_says_what_was_read_kept_and_fitted(store: Store) -> None:
    rows = with_cells(hourly(400, columns=("load", "wind", "gone")), slice(0, 399), 2, math.nan)
    prepared = prepare(store, two_files(rows), sample={"train_rows": 200, "test_rows": 50})
    meta = prepared.meta
    assert set(type(meta).model_fields) == {
        *("v", "data_hash", "made_of", "train", "test", "absent", "contiguous"),
        *("seasons", "dropped", "warnings", "fitted"),
    }
    assert (meta.v, meta.data_hash) == (2, prepared.data_hash)
    for part, before, after in (("train", 300, 200), ("test", 100, 50)):
        data = store.get(f"processed-data/{prepared.data_hash}/{part}.parquet")
        assert data is not None
        expected = {"rows_before": before, "rows": after, "sha256": sha256(data), "size": len(data)}
        assert getattr(meta, part).model_dump() == expected
    assert meta.absent == Absent(train=0, test=0)
    assert meta.seasons == [24]
    assert [entry.column for entry in meta.dropped] == ["gone"]
    assert meta.warnings == [f"column 'gone' was dropped: {meta.dropped[0].reason}"]
    fitted = meta.fitted
    assert [column.name for column in fitted.columns] == ["load", "wind"]
    assert fitted.columns[0].maximum == rows.values[:200, 0].max()
    assert (fitted.grid.step, fitted.grid.timezone, fitted.resample, fitted.targets) == ("1h", "UTC", "off", [])


def test_both_parquet_files_carry_the_hash_and_what_it_is_made_of(store: Store) -> None:
    prepared = prepare(store)
    for key in (layout.train_rows(prepared.data_hash), layout.test_rows(prepared.data_hash)):
        notes = pl.read_parquet_metadata(io.BytesIO(store.get(key) or b""))
        assert notes["data_hash"] == prepared.data_hash
        assert json.loads(notes["preprocess_config"]) == made_of(prepared)


def test_a_loaded_dataset_holds_raw_rows_in_original_units(store: Store) -> None:
    rows = with_cells(with_cells(ROWS, 310, 1, math.nan), 5, 0, math.nan)
    dataset = load_dataset(store, prepare(store, two_files(rows)).data_hash, ("load",))
    assert dataset.train.columns == dataset.test.columns == ("load", "wind")
    np.testing.assert_array_equal(dataset.train.times, rows.times[:300])
    np.testing.assert_array_equal(dataset.test.times, rows.times[300:])
    np.testing.assert_array_equal(dataset.test.values, rows.values[300:])
    np.testing.assert_array_equal(dataset.train.values, rows.values[:300])
    assert dataset.fitted.targets == ("load",)


def test_stored_rows_are_neither_clipped_nor_filled(store: Store) -> None:
    rows = ROWS
    for start in (50, 350):
        rows = with_cells(with_cells(rows, start, 0, 1e6), slice(start + 10, start + 30), 0, math.nan)
    prepared = prepare(store, two_files(rows), preprocess={"outliers": {"enabled": True}})
    dataset = load_dataset(store, prepared.data_hash, ("load",))
    np.testing.assert_array_equal(dataset.train.then(dataset.test).values, rows.values)


def test_the_same_rows_and_spec_are_processed_once(store: Store, log: io.StringIO) -> None:
    first = prepare(store)
    before = everything(store)
    log.truncate(0)
    log.seek(0)
    again = prepare(store)
    assert again == replace(first, reused=True)
    assert everything(store) == before
    assert [(line["event"], line["data_hash"]) for line in logged(log)] == [("skip_idempotent", first.data_hash)]


def test_the_events_of_the_stage_carry_the_figures(store: Store, log: io.StringIO) -> None:
    meta = prepare(store, sample={"train_rows": 50, "test_rows": 40, "strategy": "random", "seed": 7}).meta
    sampling, *uploads = logged(log)
    assert {key: value for key, value in sampling.items() if key != "ts"} == {
        "event": "sampling_applied",
        "service": "preprocess",
        "train_rows_before": 300,
        "train_rows_after": 50,
        "test_rows_before": 100,
        "test_rows_after": 40,
        "sample_strategy": "random",
        "sample_seed": 7,
    }
    assert [(line["event"], line["sha256"], line["size"]) for line in uploads] == [
        ("upload_done", getattr(meta, part).sha256, getattr(meta, part).size) for part in ("train", "test")
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"sample": {"train_rows": 299}},
        {"preprocess": {"hash_salt": "x"}},
        {"preprocess": {"scaler": "none"}},
        {"dataset": {"timezone": "Europe/Madrid", "targets": ["load"]}},
    ],
)
def test_the_rows_of_another_spec_are_stored_beside_the_first(store: Store, changed: dict[str, Any]) -> None:
    first = prepare(store)
    second = prepare(store, **changed)
    assert second.data_hash != first.data_hash
    assert not second.reused
    assert len([key for key in store.list("") if "by-input" not in key]) == 6


def test_models_task_and_target_share_the_processed_rows(store: Store) -> None:
    first = prepare(store)
    other = small_spec(("ridge", "gru"), dataset={"targets": ["wind"]}, task={"horizon": 5}, run={"seed": 9})
    again = preprocess(other, two_files(), store, version=1)
    assert (again.data_hash, again.reused) == (first.data_hash, True)
    assert load_dataset(store, again.data_hash, ("wind",)).fitted.targets == ("wind",)


def test_one_file_is_split_and_its_fraction_counts(store: Store) -> None:
    prepared = prepare(store, one_file(), dataset={"test_fraction": 0.3, "targets": ["load"]})
    assert (prepared.meta.train.rows, prepared.meta.test.rows) == (280, 120)
    assert prepared.meta.contiguous
    assert made_of(prepared)["test_fraction"] == 0.3
    other = prepare(store, one_file(), dataset={"test_fraction": 0.2, "targets": ["load"]})
    assert other.data_hash != prepared.data_hash
    assert prepare(store, two_files()).data_hash not in {prepared.data_hash, other.data_hash}


@pytest.mark.parametrize(
    ("skip", "sample", "contiguous"),
    [
        (0, {}, True),
        (1, {}, False),
        (0, {"train_rows": 299}, False),
        (0, {"train_rows": 50, "strategy": "tail"}, True),
        (0, {"train_rows": 50, "test_rows": 50, "strategy": "tail"}, False),
        (0, {"test_rows": 50, "strategy": "head"}, True),
    ],
)
def test_contiguous_means_that_test_starts_one_step_after_train_ends(
    store: Store, skip: int, sample: dict[str, Any], contiguous: bool
) -> None:
    prepared = prepare(store, two_files(skip=skip), sample=sample)
    assert prepared.meta.contiguous is contiguous
    assert load_dataset(store, prepared.data_hash, ("load",)).contiguous is contiguous


def refuse(store: Store, raw: RawInput, code: str, data: dict[str, Plain], **tables: Any) -> str:
    """The message with which raw rows are refused for this reason; nothing may be left in the store."""
    with raises(DataError, code=code, **data) as raised:
        prepare(store, raw, **tables)
    assert store.list("") == []
    return str(raised.value)


def test_columns_that_the_test_file_lacks_are_named(store: Store) -> None:
    raw = two_files()
    assert isinstance(raw.test, RawTable)
    fewer = RawTable("test", raw.test.table.drop("wind"))
    text = RawTable("test", raw.test.table.with_columns(pl.lit("calm").alias("wind")))
    for test in (fewer, text):
        refuse(store, RawInput(raw.train, test), "columns-missing", {"file": "test", "columns": ["wind"]})


def test_columns_may_come_in_another_order_and_more_of_them_in_test(store: Store) -> None:
    raw = two_files()
    assert isinstance(raw.test, RawTable)
    shuffled = raw.test.table.select("wind", pl.lit(1.0).alias("more"), "load", "time")
    prepared = prepare(store, RawInput(raw.train, RawTable("test", shuffled)))
    test = load_dataset(store, prepared.data_hash, ("load",)).test
    assert test.columns == ("load", "wind")
    np.testing.assert_array_equal(test.values, ROWS.values[300:])


def test_a_covariate_without_values_in_test_is_empty_and_not_absent(store: Store) -> None:
    rows = with_cells(ROWS, slice(300, 400), 1, math.nan)
    csv = [table(part).write_csv().encode() for part in (rows[:300], rows[300:])]
    frames = [pl.read_csv(part, infer_schema_length=None) for part in csv]
    prepared = prepare(store, RawInput(RawTable("train", frames[0]), RawTable("test", frames[1])))
    test = load_dataset(store, prepared.data_hash, ("load",)).test
    assert np.isnan(test.values[:, 1]).all()


def test_test_rows_that_are_not_later_than_train_are_refused_with_both_times(store: Store) -> None:
    raw = two_files()
    message = refuse(store, RawInput(raw.train, raw.train), "test-overlaps-train", {"file": "train"})
    assert "starts at 2018-02-07T10:00:00" in message
    assert "ends at 2018-02-19T21:00:00 (UTC)" in message
    assert raw.test is not None
    refuse(store, RawInput(raw.test, raw.train), "test-overlaps-train", {"file": "train"})


def test_a_row_of_test_at_the_last_time_of_train_is_refused(store: Store) -> None:
    raw = RawInput(RawTable("train", table(ROWS[:300])), RawTable("test", table(ROWS[299:])))
    refuse(store, raw, "test-overlaps-train", {"file": "test"})


def test_train_and_test_are_sampled_with_separate_draws(store: Store) -> None:
    rows = {"train_rows": 30, "test_rows": 30, "strategy": "random", "seed": 5}
    dataset = load_dataset(store, prepare(store, sample=rows).data_hash, ("load",))
    for part, (whole, taken) in enumerate(((ROWS[:300], dataset.train), (ROWS[300:], dataset.test))):
        start = np.random.Generator(np.random.PCG64([5, part])).integers(0, len(whole) - 30 + 1)
        np.testing.assert_array_equal(taken.times, whole.times[start : start + 30])


def test_seasons_are_those_that_the_sampled_rows_hold(store: Store) -> None:
    assert prepare(store).meta.seasons == [24]
    assert prepare(store, sample={"train_rows": 47}).meta.seasons == []


def test_absent_rows_are_empty_rows_and_are_counted_by_the_name_of_their_part(store: Store) -> None:
    raw = two_files()
    assert isinstance(raw.test, RawTable)
    thinned = raw.test.table.filter(pl.int_range(pl.len()) % 3 != 1)
    prepared = prepare(store, RawInput(raw.train, RawTable("test", thinned)))
    assert prepared.meta.absent == Absent(train=0, test=33)
    assert prepared.meta.warnings == ["test: 33 of 100 rows are absent and count as empty cells"]
    test = load_dataset(store, prepared.data_hash, ("load",)).test
    np.testing.assert_array_equal(test.times, ROWS.times[300:])
    assert np.flatnonzero(np.isnan(test.values[:, 0])).tolist() == list(range(1, 100, 3))


def test_rows_off_the_grid_are_refused_by_the_name_of_their_part(store: Store) -> None:
    raw = two_files()
    assert isinstance(raw.test, RawTable)
    later = raw.test.table.with_columns(pl.col("time").dt.offset_by("17m"))
    refuse(store, RawInput(raw.train, RawTable("test", later)), "off-grid", {"file": "test", "rows": 100, "step": "1h"})
    two_hours = {"step": "2h", "targets": ["load"]}
    refuse(store, raw, "off-grid", {"file": "train", "rows": 150}, dataset=two_hours)


def test_warnings_of_reading_and_of_gaps_are_kept(store: Store) -> None:
    train, test = split_tables(ROWS, 100)
    gaps = train.filter(pl.int_range(pl.len()) % 40 != 38).with_columns(pl.lit("x").alias("note")).reverse()
    prepared = prepare(store, RawInput(RawTable("train", gaps), RawTable("test", test)))
    kinds = ("columns that are not numeric were left out: note", "rows are not in order of time", "7 of 300 rows")
    assert len(prepared.meta.warnings) == len(kinds)
    for warning, kind in zip(prepared.meta.warnings, kinds, strict=True):
        assert warning.startswith("train: ")
        assert kind in warning
    assert prepared.meta.absent == Absent(train=7, test=0)


def test_a_set_of_absent_rows_changes_no_other_row_and_no_season(store: Store) -> None:
    train, test = split_tables(ROWS, 100)
    gone = np.random.default_rng(0).choice(np.arange(1, 299), 30, replace=False)
    kept = pl.Series(np.isin(np.arange(300), gone, invert=True))
    whole, thinned = (
        prepare(store, RawInput(RawTable("train", part), RawTable("test", test)))
        for part in (train, train.filter(kept))
    )
    rows = load_dataset(store, thinned.data_hash, ("load",)).train
    np.testing.assert_array_equal(rows.times, ROWS.times[:300])
    np.testing.assert_array_equal(rows.values[kept.to_numpy()], ROWS.values[:300][kept.to_numpy()])
    assert thinned.meta.seasons == whole.meta.seasons
    assert thinned.meta.fitted.grid == whole.meta.fitted.grid


@pytest.mark.parametrize(
    ("rows", "code", "reason"),
    [
        (with_cells(ROWS, slice(0, 120), 0, math.nan), "target-dropped", "40% of its cells are empty"),
        (with_cells(ROWS, slice(0, 400), 0, math.nan), "target-dropped", "100% of its cells are empty"),
        (with_cells(ROWS, slice(0, 400), 0, 7.5), "target-constant", "it is 7.5 in every train row"),
    ],
)
def test_a_target_that_cannot_be_learned_is_refused_when_it_is_requested(
    store: Store, rows: Rows, code: str, reason: str
) -> None:
    data_hash = prepare(store, two_files(rows), preprocess={"outliers": {"enabled": True}}).data_hash
    with raises(DataError, code=code, column="load") as raised:
        load_dataset(store, data_hash, ("load",))
    assert reason in str(raised.value)
    assert load_dataset(store, data_hash, ("wind",)).fitted.targets == ("wind",)


def test_a_target_that_the_rows_do_not_have_is_named(store: Store) -> None:
    data_hash = prepare(store).data_hash
    with raises(DataError, code="column-missing", column="sun"):
        load_dataset(store, data_hash, ("sun",))


@contextmanager
def raising_about(key: str) -> Iterator[None]:
    """Pass where the block raises DamagedObject about the object of this key."""
    with pytest.raises(DamagedObject) as raised:
        yield
    assert key in str(raised.value)


@pytest.mark.parametrize("part", ["train", "test"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "other rows"])
def test_damaged_rows_are_never_used(store: Store, part: str, damage: str) -> None:
    data_hash = prepare(store).data_hash
    key = f"processed-data/{data_hash}/{part}.parquet"
    data = store.get(key) or b""
    other = prepare(store, sample={"train_rows": 10, "test_rows": 10}).data_hash
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    store.replace(
        key,
        {
            "cut": data[:-1],
            "flipped": bytes(flipped),
            "other rows": store.get(f"processed-data/{other}/{part}.parquet") or b"",
        }[damage],
    )
    with raising_about(key):
        load_dataset(store, data_hash, ("load",))


def test_absent_objects_are_named(store: Store) -> None:
    data_hash = "0" * 64
    with raising_about(layout.meta(data_hash)):
        load_dataset(store, data_hash, ("load",))
    prepared = prepare(store)
    half = memory_store()
    half.create(layout.meta(prepared.data_hash), store.get(layout.meta(prepared.data_hash)) or b"")
    with raising_about(layout.train_rows(prepared.data_hash)):
        load_dataset(half, prepared.data_hash, ("load",))


def test_a_meta_that_is_not_json_does_not_count_as_stored(store: Store) -> None:
    data_hash = prepare(store).data_hash
    store.replace(layout.meta(data_hash), b'{"v":')
    with raising_about(layout.meta(data_hash)):
        prepare(store)


@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.parametrize("point", ["train", "test", "meta"])
def test_a_crash_between_writes_is_repaired_by_the_next_run(store: Store, point: str, side: str) -> None:
    clean = memory_store()
    prepare(clean)
    arm(f"preprocess.{point}.{side}=error")
    with pytest.raises(OSError, match=f"failpoint preprocess.{point}.{side}"):
        prepare(store)
    assert set(store.list("")) < set(clean.list("")) or (point, side) == ("meta", "after")
    prepared = prepare(store)
    assert prepared.reused is ((point, side) == ("meta", "after"))
    assert everything(store) == everything(clean)
    load_dataset(store, prepared.data_hash, ("load",))


def test_rows_that_another_writer_stored_first_stay_and_meta_names_them(store: Store) -> None:
    """Another version of the Parquet library may have written the same rows in other bytes before it crashed."""
    data_hash = prepare(memory_store()).data_hash
    buffer = io.BytesIO()
    table(ROWS[:300]).with_columns(pl.col("time").dt.replace_time_zone("UTC")).write_parquet(buffer)
    store.create(layout.train_rows(data_hash), buffer.getvalue())
    prepared = prepare(store)
    assert prepared.meta.train.sha256 == sha256(buffer.getvalue())
    dataset = load_dataset(store, data_hash, ("load",))
    np.testing.assert_array_equal(dataset.train.values, ROWS.values[:300])


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda rows: rows_to_parquet(rows, {})[:-9], "table-unreadable"),
        (lambda rows: rows_to_parquet(rows[:-1], {}), "table-differs"),
        (lambda rows: rows_to_parquet(replace(rows, times=rows.times + 1), {}), "table-differs"),
        (lambda rows: rows_to_parquet(replace(rows, columns=("load", "sun")), {}), "table-differs"),
        (lambda rows: rows_to_parquet(replace(rows, values=np.add(rows.values, [1e-6, 0.0])), {}), "table-differs"),
    ],
    ids=["cut off", "fewer rows", "other times", "other columns", "another value"],
)
@pytest.mark.parametrize("part", ["train", "test"])
def test_a_table_without_its_meta_that_holds_other_rows_is_not_committed(
    store: Store, part: str, change: Callable[[Rows], bytes], code: str
) -> None:
    whole = memory_store()
    data_hash = prepare(whole).data_hash
    key = (layout.train_rows if part == "train" else layout.test_rows)(data_hash)
    store.create(key, change(rows_from_parquet(whole.get(key) or b"", key=key)))
    with raises(DamagedObject, code=code, key=key):
        prepare(store)
    assert not store.exists(layout.meta(data_hash))


def test_a_table_without_its_meta_may_differ_in_the_last_digits(store: Store) -> None:
    whole = memory_store()
    data_hash = prepare(whole).data_hash
    key = layout.train_rows(data_hash)
    rows = rows_from_parquet(whole.get(key) or b"", key=key)
    other = rows_to_parquet(replace(rows, values=rows.values * (1.0 + 1e-15)), {})
    store.create(key, other)
    assert prepare(store).meta.train.sha256 == sha256(other)


def every_20_minutes(rows: Rows) -> Rows:
    """Each hourly row three times: at its hour, 20 and 40 minutes later."""
    times = (rows.times[:, None] + np.array([0, 20, 40]) * 60 * 10**9).ravel()
    return Rows(times, np.repeat(rows.values, 3, axis=0), rows.columns)


HOURLY_MEAN: dict[str, Any] = {"preprocess": {"resample": "mean"}, "dataset": {"step": "1h", "targets": ["load"]}}


def test_rows_are_resampled_before_they_are_split_and_sampled(store: Store) -> None:
    prepared = prepare(store, one_file(every_20_minutes(ROWS)), **HOURLY_MEAN, sample={"train_rows": 100})
    dataset = load_dataset(store, prepared.data_hash, ("load",))
    np.testing.assert_array_equal(dataset.train.times, ROWS.times[:100])
    np.testing.assert_array_equal(dataset.test.times, ROWS.times[320:])
    np.testing.assert_allclose(dataset.test.values, ROWS.values[320:], rtol=1e-12)
    assert prepared.meta.train.rows_before == 320
    assert made_of(prepared)["preprocess"]["resample"] == "mean"
    assert prepared.meta.warnings == ['rows: 1,200 rows became 400 on the grid of 1h by preprocess.resample = "mean"']


def test_repeated_rows_and_rows_off_the_grid_are_refused_and_resampling_mends_them(store: Store) -> None:
    train, test = split_tables(ROWS, 100)
    shifted = pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.col("time").dt.offset_by("9m")).otherwise("time")
    for rows, code in (
        (train.with_columns(time=shifted), "off-grid"),
        (pl.concat([train, train[:5]]).sort("time"), "repeated-times"),
    ):
        raw = RawInput(RawTable("train", rows), RawTable("test", test))
        message = refuse(store, raw, code, {"file": "train"})
        assert "preprocess.resample" in message
        assert prepare(memory_store(), raw, **HOURLY_MEAN).meta.absent == Absent(train=0, test=0)


def test_a_step_of_the_grid_with_rows_of_both_files_is_refused_with_a_hint(store: Store) -> None:
    rows = every_20_minutes(ROWS)
    raw = RawInput(RawTable("train", table(rows[:-100])), RawTable("test", table(rows[-100:])))
    message = refuse(store, raw, "test-overlaps-train", {"file": "test"}, **HOURLY_MEAN)
    assert "end train where a step ends" in message
