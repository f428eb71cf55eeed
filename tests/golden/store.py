"""The stores that `make_store` wrote, one for each format that is read, and the kind of each of their objects."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

import flts.evaluate
import flts.preprocess
import flts.train
from flts.contracts.records.answer import AnswerDay, ForecastLine
from flts.contracts.records.base import StoredRecord
from flts.contracts.records.data import KnownInput, ProcessedMeta
from flts.contracts.records.decision import DecisionRecord, Preview
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import Latency, Manifest, ModelResult, WindowsResult
from flts.contracts.records.run import FailurePart, JudgePart, JudgeSeal, PreprocessPart, RunClaim, TrainPart
from flts.models.registry import BUILT_IN

FOLDER = Path(__file__).parent
OBJECTS = ".flts/objects/"
WRITTEN_WITH: Mapping[str, Mapping[str, int]] = {
    "store-1.zip": {"preprocess": 1, "train": 1, "evaluate": 1},
    "store-2.zip": {"preprocess": 2, "train": 2, "evaluate": 2, "automfles": 2, "gru": 3, "prophet": 2, "ridge": 2},
    "store-3.zip": {"preprocess": 3, "train": 2, "evaluate": 2, "automfles": 2, "gru": 3, "prophet": 2, "ridge": 3},
    "store-4.zip": {"preprocess": 4, "train": 2, "evaluate": 2, "automfles": 3, "gru": 4, "prophet": 2, "ridge": 3},
}
"""The code versions whose hashes a store has, oldest store first. Under a higher version the same Spec has another
hash, so that nothing in the store is repeated."""
OLDEST, NEWEST = next(iter(WRITTEN_WITH)), list(WRITTEN_WITH)[-1]
KINDS: Mapping[str, type[StoredRecord]] = {
    "processed-data/[^/]+/meta.json": ProcessedMeta,
    "processed-data/by-input/[^/]+.json": KnownInput,
    "bundles/[^/]+/manifest.json": Manifest,
    "models/[^/]+/result.json": ModelResult,
    "models/[^/]+/windows/[^/]+/result.json": WindowsResult,
    "models/[^/]+/latency.json": Latency,
    "runs/[^/]+/[0-9]+/claim.json": RunClaim,
    "runs/[^/]+/[0-9]+/preprocess.json": PreprocessPart,
    "runs/[^/]+/[0-9]+/train-[^/]+.json": TrainPart,
    "runs/[^/]+/[0-9]+/failures/[^/]+.json": FailurePart,
    "runs/[^/]+/[0-9]+/judge.json": JudgePart,
    "runs/[^/]+/[0-9]+/seals/[^/]+.json": JudgeSeal,
    "inference-logs/[^/]+/days/[^/]+.json": AnswerDay,
    "model-promotion/[^/]+/log/[0-9]+.json": LogEntry,
    "model-promotion/[^/]+/decisions/[^/.]+.json": DecisionRecord,
    "model-promotion/[^/]+/decisions/[^/.]+.preview.json": Preview,
}
"""Record class by key. The other objects are pointers (a message), Specs, lines of forecasts, and tables."""
LATER: Mapping[str, set[type[StoredRecord]]] = {
    "store-1.zip": {KnownInput, JudgeSeal, AnswerDay},
    "store-2.zip": {JudgeSeal, AnswerDay},
    "store-3.zip": set(),
    "store-4.zip": set(),
}
"""Kinds that came after a store was written."""
LINES = {"inference-logs/.+.jsonl": ForecastLine}
OTHERS = ("model-promotion/(.+/)?current.json", "specs/.+.json", "bundles/[^/]+/(?!manifest).+", ".+.parquet")


def other_versions(archive: str) -> str | None:
    """Why this code cannot repeat what the store holds; None if it can."""
    here = {
        "preprocess": flts.preprocess.CODE_VERSION,
        "train": flts.train.CODE_VERSION,
        "evaluate": flts.evaluate.CODE_VERSION,
    }
    written = WRITTEN_WITH[archive]
    here |= {name: family.version for name, family in BUILT_IN.items() if name in written}
    return None if here == written else f"the store was written with the versions {written}, here are {here}"


def objects(archive: str) -> dict[str, bytes]:
    """Every object of the store by its key."""
    with zipfile.ZipFile(FOLDER / archive) as opened:
        names = [name for name in opened.namelist() if name.startswith(OBJECTS)]
        return {name.removeprefix(OBJECTS): opened.read(name) for name in names}


def records(archive: str) -> list[tuple[str, type[StoredRecord], bytes]]:
    """Key, class and bytes of every record."""
    return [(key, kind, data) for key, data in objects(archive).items() if (kind := kind_of(key)) is not None]


def kind_of(key: str) -> type[StoredRecord] | None:
    """The record class of a key; None if the object is not a record."""
    return next((kind for pattern, kind in KINDS.items() if re.fullmatch(pattern, key)), None)


def unpack(archive: str, folder: Path) -> Path:
    """The whole folder: the store, the experiments, their rows and the forecast."""
    with zipfile.ZipFile(FOLDER / archive) as opened:
        opened.extractall(folder)
    return folder
