"""The rows: counted in the Parquet files, their digests and sizes, the sampling, and the statistics of train."""

from __future__ import annotations

from typing import Literal

import numpy as np

from flts.contracts import layout
from flts.contracts.canonical import digest
from flts.contracts.errors import DamagedObject
from flts.contracts.records.base import plain_json
from flts.contracts.records.data import KnownInput, ProcessedMeta, RowsPart
from flts.preprocess.parquet import rows_from_parquet
from flts.preprocess.rows import Rows
from flts.spec.lineage import RawDigests, data_fields, explain
from flts.verification.claims import FALSE, TRUE, Check, Found, SectionChecks, absent, recorded, same
from flts.verification.evidence import RunEvidence
from flts.verification.sealed import sealed
from flts.verification.stages import took

Part = Literal["train", "test"]


def preprocess(evidence: RunEvidence) -> SectionChecks:
    """Claims about the processed rows."""
    try:
        data_hash = evidence.claim.data_hash
    except DamagedObject:
        data_hash = "unknown"  # the first claim says so, and all of these depend on it
    meta = layout.meta(data_hash)
    checks = [
        Check("preprocess.meta", "The description of the rows is the one that the run used", _meta, (meta,)),
        Check("preprocess.duration", "The recorded seconds for the rows fit between start and end", _duration),
        Check("preprocess.data_hash", "The description of the rows has the data_hash of the run", _data_hash),
        Check("preprocess.input", "The short cut from the raw rows leads to these rows", _input, due=False),
        Check("preprocess.experiment", "The rows were made as the experiment says", _as_specified),
        *_checks_of("train", layout.train_rows(data_hash)),
        *_checks_of("test", layout.test_rows(data_hash)),
        Check(
            "preprocess.statistics",
            "Lowest and highest value of each column, counted again in the train rows, are the fitted ones",
            _statistics,
            rests_on=("preprocess.train.digest",),
        ),
    ]
    return SectionChecks("preprocess", "Preprocess", checks)


def _checks_of(part: Part, key: str) -> list[Check]:
    def of(evidence: RunEvidence) -> RowsPart:
        return evidence.meta.train if part == "train" else evidence.meta.test

    def read(evidence: RunEvidence) -> bytes:
        data = evidence.get(key)
        if data is None:
            raise DamagedObject(
                f"{key} is absent, and its description names it; {layout.restore(key)}", code="object-missing", key=key
            )
        return data

    def check_digest(evidence: RunEvidence) -> Found:
        read(evidence)
        pinned = sealed(evidence, key) or of(evidence).sha256
        return same(pinned, evidence.digest(key), f"{key} was changed; {layout.mend(key)}")

    def check_size(evidence: RunEvidence) -> Found:
        return same(
            of(evidence).size, len(read(evidence)), f"{layout.meta(evidence.claim.data_hash)} says another size"
        )

    def check_rows(evidence: RunEvidence) -> Found:
        counted = len(_rows(evidence, key))
        return same(of(evidence).rows, counted, f"{layout.meta(evidence.claim.data_hash)} says another number of rows")

    def check_sampling(evidence: RunEvidence) -> Found:
        before, sample = of(evidence).rows_before, evidence.spec.sample
        asked = sample.train_rows if part == "train" else sample.test_rows
        expected = min(asked or before, before)
        return same(expected, len(_rows(evidence, key)), f"the experiment takes {expected:,} of {before:,} rows")

    return [
        Check(
            f"preprocess.{part}.digest",
            f"The {part} rows are those that were stored",
            check_digest,
            (key,),
            rests_on=("run.claim",),
        ),
        Check(f"preprocess.{part}.size", f"The {part} rows have the recorded size in bytes", check_size),
        Check(f"preprocess.{part}.rows", f"The {part} rows, counted in the Parquet file, are as many", check_rows),
        Check(
            f"preprocess.{part}.before",
            f"The {part} rows before sampling are recorded",
            lambda e: recorded(of(e).rows_before),
        ),
        Check(f"preprocess.{part}.sampling", f"As many {part} rows are kept as the sample asks for", check_sampling),
    ]


def _rows(evidence: RunEvidence, key: str) -> Rows:
    return evidence.once(f"rows {key}", lambda: rows_from_parquet(evidence.get(key) or b"", key=key))


def _meta(evidence: RunEvidence) -> Found:
    """The description has the digest that the run recorded. Where the decision seals it, the seal says who is right."""
    key, prepared = layout.meta(evidence.claim.data_hash), evidence.prepared
    evidence.required(key, ProcessedMeta)
    found, pinned = evidence.digest(key), sealed(evidence, key)
    if pinned is not None and pinned != found:
        return Found(FALSE, pinned, found, f"{key} is not the one that the decision rests on; {layout.mend(key)}")
    if prepared is None:
        return recorded(found)
    at_fault = key if pinned is None else evidence.part("preprocess")
    return same(prepared.meta_sha256, found, f"{at_fault} was changed: the run recorded another digest of {key}")


def _duration(evidence: RunEvidence) -> Found:
    key, prepared = evidence.part("preprocess"), evidence.prepared
    return absent(f"{key} is absent") if prepared is None else took(key, prepared)


def _data_hash(evidence: RunEvidence) -> Found:
    found = digest(evidence.meta.made_of.model_dump(mode="json"))
    return same(evidence.claim.data_hash, found, "the description names other input than its hash")


def _input(evidence: RunEvidence) -> Found:
    prepared = evidence.prepared
    if prepared is None or prepared.input_hash is None:
        return absent("the run is of an earlier flts, which did not record it")
    key = layout.known_input(prepared.input_hash)
    known = evidence.record(key, KnownInput)
    if known is None:
        return absent(f"{key} is absent: the next run reads the rows again")
    if known.to_bytes() != evidence.get(key):
        return Found(FALSE, reason=f"{key} is not written as FLTS writes it; {layout.mend(key)}")
    return same(evidence.claim.data_hash, known.data_hash, f"{key} leads to other rows; {layout.mend(key)}")


def _as_specified(evidence: RunEvidence) -> Found:
    """Compare what data_hash is made of with what the experiment says; the raw bytes are taken as they are named."""
    evidence.require_identity()
    made_of = evidence.meta.made_of.model_dump(mode="json")
    raw = RawDigests(str(made_of["train"]), str(made_of["test"]) if "test" in made_of else None)
    version = made_of.get("version")
    if not isinstance(version, int):
        return Found(FALSE, reason=f"{layout.meta(evidence.claim.data_hash)} does not say which version made the rows")
    differing = explain(made_of, plain_json(data_fields(evidence.spec, raw, version)))
    if differing:
        return Found(FALSE, reason=f"rows and experiment differ: {'; '.join(map(str, differing))}")
    return Found(TRUE)


def _statistics(evidence: RunEvidence) -> Found:
    """Clipping and filling change neither end of a column: the range is that of the finished rows."""
    rows = _rows(evidence, layout.train_rows(evidence.claim.data_hash))
    for column in evidence.meta.fitted.columns:
        if column.name not in rows.columns:
            return Found(FALSE, column.name, None, f"the train rows have no column '{column.name}'")
        values = rows.values[:, rows.columns.index(column.name)]
        found = [float(np.nanmin(values)), float(np.nanmax(values))]
        if found != [column.minimum, column.maximum]:
            return Found(
                FALSE, [column.minimum, column.maximum], list(found), f"'{column.name}' has another range in the rows"
            )
    return recorded(len(evidence.meta.fitted.columns)) if evidence.meta.fitted.columns else absent("no columns")
