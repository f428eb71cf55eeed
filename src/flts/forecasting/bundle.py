"""A bundle: what is judged is what is served, byte for byte. manifest.json names and digests everything else.

bundle_sha256 is the SHA-256 of the manifest, so a bundle that differs in one byte has another name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DamagedObject, MissingExtra
from flts.contracts.ports import Store, read_checked, write_once
from flts.forecasting.intervals import bounds
from flts.forecasting.model import Forecasts, Model
from flts.models.base import Family, Files, ForecastTask
from flts.models.registry import CANDIDATES
from flts.preprocess.rows import Rows, Times, Values
from flts.preprocess.transform import FittedPreprocess

MANIFEST = "manifest.json"
TOLERANCE = 1e-6
"""Two ways to the same forecast may differ by this share of the target's range over train."""


@dataclass(frozen=True)
class Bundle:
    """A verified bundle, ready to be asked."""

    sha256: str
    manifest: Mapping[str, Any]
    model: Model

    def forecast(self, times: Times, values: Values, level: float) -> tuple[Forecasts, Values, Values]:
        """Forecasts with lower and upper bounds; times [windows, rows], values [windows, rows, columns]."""
        forecasts = self.model.forecast(times, values)
        return forecasts, *bounds(forecasts.mean, forecasts.spread, self.manifest["intervals"]["offsets"], level)

    def self_test(self) -> None:
        """Forecast the stored history again. Raises DamagedObject when the answer differs from the stored one."""
        vector = self.manifest["self_test"]
        answer = self.model.forecast(np.array(vector["times"])[None], np.array(vector["values"], dtype=float)[None])
        _, width = self.model.task.fitted.target_range
        off = np.abs(answer.mean[0] - np.array(vector["mean"])) / width
        if not (off <= TOLERANCE).all():
            raise DamagedObject(
                f"bundle {self.sha256[:12]}… fails its self-test: a forecast is off by {off.max():.2e} of the target's"
                f" range, {TOLERANCE:g} is allowed; the libraries here may not fit the ones it was made with"
            )


def build_manifest(
    family: Family,
    model: Model,
    files: Files,
    train: Rows,
    offsets: dict[str, list[list[float]]] | None,
    chosen: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest of a fitted model; its self-test vector is the end of train, forecast by the model itself."""
    fitted, task = model.task.fitted, model.task
    rows = train[-min(model.history_rows, len(train)) :]
    answer = model.forecast(rows.times[None], rows.values[None])
    return {
        "v": 1,
        "model": family.name,
        "model_type": family.name.upper(),
        "code_version": family.version,
        "columns": list(fitted.names),
        "features": list(fitted.features),
        "targets": list(fitted.targets),
        "units": "as in the raw rows",
        "input_length": task.input_length,
        "horizon": task.horizon,
        "seasons": list(task.seasons),
        "history_rows": model.history_rows,
        "min_history_rows": model.history.minimum,
        "uses_history": model.history.used,
        "trained_until": int(train.times[-1]),
        "chosen": dict(chosen),
        "fitted": fitted.to_json(),
        "intervals": {"offsets": offsets, "reason": None if offsets else "fewer than 20 validation windows"},
        "self_test": {"times": rows.times.tolist(), "values": rows.values.tolist(), "mean": answer.mean[0].tolist()},
        "files": {name: {"sha256": sha256(data), "size": len(data)} for name, data in sorted(files.items())},
    }


def write_bundle(store: Store, manifest: Mapping[str, Any], files: Files) -> str:
    """Store the files, then the manifest; returns bundle_sha256."""
    data = canonical_json(manifest)
    name = sha256(data)
    for file, content in sorted(files.items()):
        write_once(store, layout.bundle(name, file), content, at="train.bundle")
    write_once(store, layout.bundle(name, MANIFEST), data, at="train.manifest")
    return name


def read_bundle(store: Store, bundle_sha256: str) -> tuple[Mapping[str, Any], Files]:
    """Manifest and files, every digest checked. Raises DamagedObject for a missing or changed byte."""
    manifest = parse_manifest(read_checked(store, layout.bundle(bundle_sha256, MANIFEST), bundle_sha256))
    files = {
        name: read_checked(store, layout.bundle(bundle_sha256, name), entry["sha256"])
        for name, entry in manifest["files"].items()
    }
    return manifest, files


def parse_manifest(data: bytes) -> dict[str, Any]:
    """A manifest whose digest was checked. Raises DamagedObject for one that this version cannot read."""
    manifest: dict[str, Any] = json.loads(data)
    if manifest.get("v") != 1 or manifest.get("model") not in CANDIDATES:
        raise DamagedObject(
            f"bundle {sha256(data)[:12]}… is a '{manifest.get('model')}' of format {manifest.get('v')}; this version of"
            f" flts reads format 1 of {', '.join(sorted(CANDIDATES))}"
        )
    return manifest


def load_bundle(store: Store, bundle_sha256: str) -> Bundle:
    """Read, check and load a bundle. Raises DamagedObject, and whatever a missing library raises."""
    return assemble(bundle_sha256, *read_bundle(store, bundle_sha256))


def assemble(bundle_sha256: str, manifest: Mapping[str, Any], files: Files) -> Bundle:
    """A bundle from its parts, which were checked. Raises MissingExtra."""
    family = CANDIDATES[manifest["model"]]
    task = ForecastTask(
        manifest["input_length"],
        manifest["horizon"],
        tuple(manifest["seasons"]),
        FittedPreprocess.from_json(manifest["fitted"]),
    )
    try:
        predictor = family.load(files, task)
    except ModuleNotFoundError:
        raise MissingExtra(f"the model '{family.name}'", family.extra or "core") from None
    return Bundle(bundle_sha256, manifest, Model(predictor, task, family.history(task)))
