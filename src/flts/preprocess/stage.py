"""The preprocess stage: raw rows in; two Parquet files and the fitted statistics out, stored under their data_hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from flts.contracts import events, layout
from flts.contracts.canonical import canonical_json, digest, sha256
from flts.contracts.errors import DamagedObject, DataError, near_misses, nearest
from flts.contracts.ports import Store, read_checked, write_once
from flts.contracts.records.base import (
    JsonObject,
    parse_stored,
    plain_json,
    read_record,
    require_sealed,
    write_record,
)
from flts.contracts.records.data import Absent, DroppedColumn, KnownInput, MadeOf, ProcessedMeta, RowsPart, RowsSummary
from flts.preprocess import fit as fitting
from flts.preprocess.grid import Grid
from flts.preprocess.identity import raw_digests
from flts.preprocess.infer import infer_grid, infer_seasons
from flts.preprocess.parquet import differs, rows_from_parquet, rows_to_parquet
from flts.preprocess.place import keeps_clock, place
from flts.preprocess.read import dialect_of, read_rows, split
from flts.preprocess.rows import Rows
from flts.preprocess.sample import TEST, TRAIN, take
from flts.preprocess.source import RawInput
from flts.preprocess.tidy import tidy
from flts.preprocess.transform import FittedPreprocess
from flts.preprocess.zones import kept_zone
from flts.spec.fields import Spec
from flts.spec.lineage import data_fields
from flts.spec.resolved import resolve_rows

TOLERANCE = 1e-9
"""Two computations of one cell may differ by this share of its column's largest value."""


@dataclass(frozen=True)
class ProcessedDataset:
    """Processed rows of one data_hash, read back from the store and checked: on the grid, empty cells NaN.

    `contiguous`: test starts one step after train ends.
    """

    data_hash: str
    train: Rows
    test: Rows
    fitted: FittedPreprocess
    contiguous: bool
    meta: RowsSummary
    time_column: str
    """Its name in the raw rows."""
    meta_sha256: str | None = None
    """Of meta.json as it is stored; None where the rows are not."""


@dataclass(frozen=True)
class Processed:
    """Rows and fitted statistics as they will be stored; nothing is stored yet."""

    train: Rows
    test: Rows
    rows_before: Mapping[str, int]
    summary: RowsSummary


@dataclass(frozen=True)
class Prepared:
    """The stored result of the stage; `reused` when it was stored before."""

    data_hash: str
    meta: ProcessedMeta
    sha256: str
    size: int
    reused: bool
    input_hash: str
    """The name of the short cut to it."""


def preprocess(spec: Spec, raw: RawInput, store: Store, version: int) -> Prepared:
    """Read, place on the grid, split, sample, fit, store. Reads nothing when the same input was processed before.

    Raises DataError naming file, column and row, DamagedObject for a table without its meta.json that holds other rows.
    """
    digests = raw_digests(raw, spec.dataset.time_column)
    input_hash = digest(data_fields(spec, digests, version))
    if (prepared := _known(store, input_hash)) is not None:
        return prepared
    processed = process(spec, raw)
    before = processed.rows_before
    resolved = resolve_rows(spec, processed.summary, before["train"], before["test"], one_file=raw.test is None)
    fields = plain_json(data_fields(resolved, digests, version))
    prepared = _stored(store, digest(fields), input_hash) or _store(store, processed, fields, input_hash)
    record = KnownInput(input_hash=input_hash, data_hash=prepared.data_hash)
    write_record(store, layout.known_input(input_hash), record, at="preprocess.input")
    return prepared


def known(spec: Spec, raw: RawInput, store: Store, version: int) -> Prepared | None:
    """The stored result of an input that was processed before; None for another one. Writes nothing."""
    return _known(store, digest(data_fields(spec, raw_digests(raw, spec.dataset.time_column), version)))


def _known(store: Store, input_hash: str) -> Prepared | None:
    record = read_record(store, layout.known_input(input_hash), KnownInput)
    return _stored(store, record.data_hash, input_hash) if record else None


def _stored(store: Store, data_hash: str, input_hash: str) -> Prepared | None:
    """What is stored under a data_hash, None unless all of it is."""
    stored = store.get(layout.meta(data_hash))
    if stored is None or not all(store.exists(name(data_hash)) for name in (layout.train_rows, layout.test_rows)):
        return None
    events.emit(events.SkipIdempotent(data_hash=data_hash))
    return _prepared(store, data_hash, stored, input_hash, reused=True)


def _store(store: Store, processed: Processed, fields: JsonObject, input_hash: str) -> Prepared:
    """Write both tables, then the record that commits them. fields: what data_hash is made of."""
    data_hash = digest(fields)
    metadata = {"data_hash": data_hash, "preprocess_config": canonical_json(fields).decode()}
    parts: dict[str, RowsPart] = {}
    for part, table, rows in (
        ("train", layout.train_rows(data_hash), processed.train),
        ("test", layout.test_rows(data_hash), processed.test),
    ):
        fresh = rows_to_parquet(rows, metadata)
        data = write_once(store, table, fresh, at="preprocess.train" if part == "train" else "preprocess.test")
        if data != fresh and not _close(rows_from_parquet(data, key=table), rows):
            raise differs(table, store.url)
        parts[part] = RowsPart(
            rows=len(rows), rows_before=processed.rows_before[part], sha256=sha256(data), size=len(data)
        )
        events.emit(events.UploadDone(object_key=table, size=len(data), sha256=parts[part].sha256))
    meta = ProcessedMeta(
        data_hash=data_hash,
        made_of=MadeOf.model_validate(fields),
        train=parts["train"],
        test=parts["test"],
        **dict(processed.summary),
    )
    stored = write_once(store, layout.meta(data_hash), meta.to_bytes(), at="preprocess.meta")
    return _prepared(store, data_hash, stored, input_hash, reused=False)


def process(spec: Spec, raw: RawInput) -> Processed:
    """Read, place on the grid, split, sample, fit. Raises DataError naming file, column and row."""
    grid, train, test, before, warnings = _read_and_sample(spec, raw)
    _refuse_overlap(grid, train, test, raw.test.name if raw.test else f"{raw.train.name} (its last rows)")
    fitted = fitting.fit(train, spec.preprocess, grid)
    columns = fitted.preprocess.names
    train, test = (Rows(rows.times, rows.select(columns), columns) for rows in (train, test))
    summary = RowsSummary(
        fitted=fitted.preprocess.record(),
        seasons=infer_seasons(grid, len(train)),
        contiguous=grid.between(int(train.times[-1]), int(test.times[0])) == 1,
        absent=Absent(train=_absent(train), test=_absent(test)),
        dropped=[DroppedColumn(column=name, reason=reason) for name, reason in fitted.dropped],
        warnings=[*warnings, *fitted.warnings],
    )
    return Processed(train, test, before, summary)


def load_dataset(store: Store, data_hash: str, targets: tuple[str, ...]) -> ProcessedDataset:
    """Processed rows for these targets, digests checked. Raises DamagedObject, DataError for an unusable target."""
    described = layout.meta(data_hash)
    meta, meta_sha256 = require_sealed(store, described, ProcessedMeta)
    train, test = (
        rows_from_parquet(read_checked(store, key, part.sha256), key=key)
        for key, part in ((layout.train_rows(data_hash), meta.train), (layout.test_rows(data_hash), meta.test))
    )
    try:
        dataset = dataset_of(data_hash, train, test, meta, targets, meta.made_of.time_column)
    except ValueError as error:
        raise DamagedObject(
            f"{described} in {store.url} is damaged: {error}; {layout.mend(described)}",
            code="record-damaged",
            key=described,
        ) from None
    return replace(dataset, meta_sha256=meta_sha256)


def dataset_of(
    data_hash: str, train: Rows, test: Rows, meta: RowsSummary, targets: tuple[str, ...], time_column: str
) -> ProcessedDataset:
    """Processed rows for these targets. Raises DataError for a target that cannot be forecast."""
    fitted = FittedPreprocess.of(meta.fitted)
    for target in targets:
        _refuse_unusable(target, meta, fitted)
    return ProcessedDataset(data_hash, train, test, fitted.for_targets(targets), meta.contiguous, meta, time_column)


def _close(stored: Rows, rows: Rows) -> bool:
    """Whether two results of this stage agree: another processor may give other last digits, and nothing else."""
    if stored.columns != rows.columns or not np.array_equal(stored.times, rows.times):
        return False
    allowed = TOLERANCE * np.fmax.reduce(np.abs(rows.values), initial=0.0)
    return np.allclose(stored.values, rows.values, rtol=0.0, atol=allowed, equal_nan=True)


def _prepared(store: Store, data_hash: str, data: bytes, input_hash: str, *, reused: bool) -> Prepared:
    """The content of meta.json, whichever process wrote it."""
    meta = parse_stored(store, layout.meta(data_hash), ProcessedMeta, data)
    return Prepared(data_hash, meta, sha256(data), len(data), reused, input_hash)


def _absent(rows: Rows) -> int:
    """Rows without a single value."""
    return int(np.isnan(rows.values).all(axis=1).sum()) if rows.columns else 0


def _read_and_sample(spec: Spec, raw: RawInput) -> tuple[Grid, Rows, Rows, dict[str, int], list[str]]:
    first, rule = tidy(raw.train.loaded(), spec.dataset.time_column), spec.preprocess.resample
    reading = read_rows(first, spec.dataset)
    grid = infer_grid(reading.rows.times, spec.dataset.step, spec.dataset.timezone, rule, raw.train.name)
    keeps = kept_zone(reading.rows.times, grid)
    train, notes = place(reading.rows, grid, rule, raw.train.name, keeps)
    warnings = [*map(str, reading.warnings), *notes]
    if raw.test is None:
        train, test = split(train, spec.dataset.test_fraction, raw.train.name)
    else:
        hint = dialect_of(first, spec.dataset.time_column)
        later = read_rows(replace(raw.test, hint=hint), spec.dataset)
        absent = [name for name in train.columns if name not in later.rows.columns]
        if absent:
            raise DataError(
                f"{raw.test.name}: lacks the numeric columns {', '.join(absent)} that {raw.train.name} has;"
                " both files need the same columns"
                f"{near_misses(absent, (name for name in later.rows.columns if name not in train.columns))}",
                code="columns-missing",
                file=raw.test.name,
                columns=absent,
            )
        same = Rows(later.rows.times, later.rows.select(train.columns), train.columns)
        keeps = kept_zone(np.concatenate([reading.rows.times, same.times]), grid)
        test, notes = place(same, grid, rule, raw.test.name, keeps)
        warnings += [*map(str, later.warnings), *notes]
    if keeps:
        warnings.append(f"{raw.train.name}: days and steps are those of {_clock_of(grid)}; {keeps_clock(keeps)}")
    before = {"train": len(train), "test": len(test)}
    train = take(train, spec.sample.train_rows, spec.sample, TRAIN)
    test = take(test, spec.sample.test_rows, spec.sample, TEST)
    events.emit(
        events.SamplingApplied(
            train_rows_before=before["train"],
            train_rows_after=len(train),
            test_rows_before=before["test"],
            test_rows_after=len(test),
            sample_strategy=spec.sample.strategy,
            sample_seed=spec.sample.seed,
        )
    )
    return grid, train, test, before, warnings


def _clock_of(grid: Grid) -> str:
    return grid.timezone if grid.local else "UTC"


def _refuse_overlap(grid: Grid, train: Rows, test: Rows, name: str) -> None:
    ahead = grid.between(int(train.times[-1]), int(test.times[0]))
    if ahead > 0:
        return
    hint = "; one step of the grid contains rows of both: end train where a step ends" if ahead == 0 else ""
    raise DataError(
        f"{name}: test starts at {_utc(test.times[0])}, not after train ends at {_utc(train.times[-1])} (UTC);"
        f" test rows must be later than all train rows{hint}",
        code="test-overlaps-train",
        file=name,
        found=_utc(test.times[0]),
    )


def _refuse_unusable(target: str, meta: RowsSummary, fitted: FittedPreprocess) -> None:
    for dropped in meta.dropped:
        if dropped.column == target:
            raise DataError(
                f"the target '{target}' cannot be forecast: {dropped.reason}", code="target-dropped", column=target
            )
    column = next((c for c in fitted.columns if c.name == target), None)
    if column is None:
        raise DataError(
            f"the processed rows have no column '{target}'; {nearest(target, fitted.names)}",
            code="column-missing",
            column=target,
        )
    if column.minimum == column.maximum:
        raise DataError(
            f"the target '{target}' cannot be forecast: it is {column.minimum:g} in every train row,"
            " so there is nothing to learn and no range to scale errors by",
            code="target-constant",
            column=target,
            found=column.minimum,
        )


def _utc(time: np.int64) -> str:
    return str(np.datetime64(int(time), "ns").astype("datetime64[s]"))
